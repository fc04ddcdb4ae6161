/**
 * Requests to the server of this page, all below its own folder: behind any prefix.
 * @module
 */

const ROOT = new URL('../../', import.meta.url);
const UNREACHABLE = 'The server cannot be reached. Is it still running?';

/** What went wrong, as one line for people. */
export class ServerError extends Error {}

/**
 * What the server says of a job: see server/jobs.py.
 * @typedef {object} Job
 * @property {string} id
 * @property {'running' | 'done' | 'failed' | 'cancelled'} state
 * @property {number} done passes
 * @property {number} expected passes
 * @property {number} seconds since it began
 * @property {string | null} error
 * @property {any} result
 */

/**
 * @param {string} path below `lit_plugins/`
 * @param {object} [body] POSTed as JSON; without it the request is a GET
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>} what is answered. Rejects with a ServerError, or the signal's AbortError.
 */
export async function ask(path, body, signal) {
  const how = body === undefined ? {} : {method: 'POST', body: JSON.stringify(body)};
  let response;
  let text;
  try {
    response = await fetch(new URL(path, ROOT), {...how, signal});
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ServerError(UNREACHABLE);
  }
  if (!response.ok) throw new ServerError(text.split('\n\nDetails:')[0].trim() || UNREACHABLE);
  return JSON.parse(text);
}

/**
 * Starts a job and follows it to its end.
 * @param {string} path
 * @param {object} body
 * @param {(job: Job) => void} onProgress
 * @param {AbortSignal} signal ends it, here and on the server
 * @param {() => boolean} watched whether somebody looks on: else it is asked less often
 * @returns {Promise<Job>}
 */
export async function follow(path, body, onProgress, signal, watched) {
  /** @type {Job} */
  let job = await ask(path, body); // not aborted: what has begun there must be ended there
  const cancel = () => void ask(`jobs/${job.id}/cancel`, {}).catch(() => undefined);
  if (signal.aborted) {
    cancel();
    throw new DOMException('Cancelled', 'AbortError');
  }
  signal.addEventListener('abort', cancel, {once: true});
  try {
    while (job.state === 'running') {
      onProgress(job);
      if (!watched()) await pause(UNWATCHED_PAUSE, signal);
      job = await ask(`jobs/${job.id}`, undefined, signal);
    }
    return job;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

// A browser keeps six connections to a server: who waits unseen must not hold one.
const UNWATCHED_PAUSE = 3000; // milliseconds; the server forgets after twenty seconds

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve(undefined);
    }, {once: true});
  });
}
