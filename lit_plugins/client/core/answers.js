/**
 * What was asked of the server and what it has answered, by the question itself: an answer is only
 * ever found under its own question, so none can be shown for another one.
 * @module
 */

import {Observable} from './observable.js';
import {follow, ServerError} from './server.js';

/**
 * @typedef {object} Answer
 * @property {'running' | 'done' | 'failed' | 'cancelled'} state
 * @property {number} done passes
 * @property {number} expected passes; 0 if that is not known
 * @property {number} began milliseconds, as performance.now() counts
 * @property {string} error one line, of what failed
 * @property {any} result
 */

const KEPT = 500;

/**
 * What finds the answer of a question: the same for the same question.
 * @param {object} question
 */
export const keyOf = (question) => JSON.stringify(question);

export class Answers extends Observable {
  /** @type {Map<string, Answer>} the longest unused first */
  #answers = new Map();
  /** @type {Map<string, AbortController>} */
  #running = new Map();
  /** @type {Map<string, number>} how many look on */
  #watchers = new Map();

  /** @param {string} path the server's route */
  constructor(path) {
    super();
    this.path = path;
  }

  /**
   * @param {object | null} question
   * @returns {Answer | undefined}
   */
  find(question) {
    return question === null ? undefined : this.#answers.get(keyOf(question));
  }

  /**
   * Asks, unless it is known or being computed; what has failed or was cancelled is asked again.
   * @param {object} question
   */
  ask(question) {
    const key = keyOf(question);
    const known = this.#answers.get(key);
    if (known?.state === 'running' || known?.state === 'done') {
      this.#keep(key, known);
      return;
    }
    const controller = new AbortController();
    this.#running.set(key, controller);
    /** @type {Answer} */
    const first = {
      state: 'running', done: 0, expected: 0, began: performance.now(), error: '', result: null,
    };
    const update = (/** @type {Partial<Answer>} */ change) => {
      if (this.#running.get(key) !== controller) return; // cancelled, or asked anew
      this.#keep(key, {...first, ...change});
      this.changed();
    };
    update({});
    const end = (/** @type {Partial<Answer>} */ change) => {
      update(change);
      if (this.#running.get(key) === controller) this.#running.delete(key);
    };
    follow(
        this.path, question, ({done, expected}) => update({done, expected}), controller.signal,
        () => (this.#watchers.get(key) ?? 0) > 0,
    ).then(
        ({state, error, result}) => end({state, error: error ?? '', result}),
        (error) => {
          if (controller.signal.aborted) return;
          end({
            state: 'failed',
            error: error instanceof ServerError ? error.message : `The page has failed: ${error}`,
          });
        });
  }

  /**
   * Stops the computation, here and on the server.
   * @param {object | null} question
   */
  cancel(question) {
    const key = question === null ? '' : keyOf(question);
    const controller = this.#running.get(key);
    const answer = this.#answers.get(key);
    if (!controller || !answer) return;
    this.#running.delete(key);
    this.#keep(key, {...answer, state: 'cancelled'});
    controller.abort();
    this.changed();
  }

  /**
   * Says that somebody looks at a question's answer.
   * @param {object} question
   * @returns {() => void} ends it
   */
  watch(question) {
    const key = keyOf(question);
    this.#watchers.set(key, (this.#watchers.get(key) ?? 0) + 1);
    return () => {
      const left = (this.#watchers.get(key) ?? 1) - 1;
      if (left) this.#watchers.set(key, left);
      else this.#watchers.delete(key);
    };
  }

  /**
   * Stops what nobody looks at any more, and forgets that it was asked.
   * @param {object} question
   */
  abandon(question) {
    const key = keyOf(question);
    if (this.#watchers.has(key) || !this.#running.has(key)) return;
    this.cancel(question);
    this.#answers.delete(key);
  }

  /**
   * @param {string} key
   * @param {Answer} answer
   */
  #keep(key, answer) {
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    for (const [old, {state}] of this.#answers) {
      if (this.#answers.size <= KEPT) break;
      if (state !== 'running') this.#answers.delete(old);
    }
  }
}

export const texts = new Answers('texts');
export const explanations = new Answers('explanations');

