/**
 * In LIT's Salience Maps, an answer belongs to its question: in LIT 1.3.1 a slow one is drawn below
 * whatever example or class was chosen since, and a refused one leaves its spinner for ever, over all
 * that could be clicked. A refused one's error is shown in its row, until that is run again.
 * @module
 */

/** @import {SalienceMaps} from './salience_lit.js' */

import {html} from './template.js';

const REQUEST = 'interpretations-';
const UNKNOWN = 'The server has not answered. Is it still running?';

/** @type {WeakMap<SalienceMaps, Map<string, Promise<unknown>>>} the last request of each row */
const latest = new WeakMap();

/** What is explained: an answer is of use only while that is the same. @param {SalienceMaps} module */
const question = (module) => [module.currentData, module.targetField, module.salienceTarget];

/** For an answer that nobody waits for: whoever does is forgotten with it. @returns {Promise<any>} */
const never = () => new Promise(() => undefined);

/** @param {SalienceMaps} prototype */
export function keepAnswersInPlace(prototype) {
  const {loadLatest, clearSalience, runInterpreter} = prototype;

  prototype.loadLatest = async function(key, promise) {
    if (!key.startsWith(REQUEST)) return loadLatest.call(this, key, promise);
    const name = key.slice(REQUEST.length);
    const requests = latest.get(this) ?? new Map();
    latest.set(this, requests.set(name, promise));
    const asked = question(this);
    try {
      const answer = await loadLatest.call(this, key, promise);
      return (await stillWanted(this, name, promise, asked)) ? /** @type {any} */ (answer) : null;
    } catch (error) {
      await stillWanted(this, name, promise, asked);
      this.latestLoadPromises.delete(key);
      this.setIsLoading(false);
      throw error;
    }
  };

  prototype.clearSalience = function() {
    clearSalience.call(this);
    for (const row of Object.values(this.state)) row.isLoading = false;
  };

  prototype.runInterpreter = async function(name) {
    if (this.state[name].salience.litPluginsError) this.state[name].salience = {};
    try {
      await runInterpreter.call(this, name);
    } catch (error) {
      this.state[name].isLoading = false;
      this.state[name].salience = {litPluginsError: {line: lineOf(error)}};
    }
  };
}

/**
 * @param {SalienceMaps} module
 * @param {string} name
 * @param {Promise<unknown>} promise
 * @param {unknown[]} asked
 * @returns {Promise<boolean>} true; waits for ever if nobody wants to know any more
 */
async function stillWanted(module, name, promise, asked) {
  if (latest.get(module)?.get(name) !== promise) return never();
  const now = question(module);
  if (asked.every((one, place) => one === now[place])) return true;
  module.state[name].isLoading = false;
  return never();
}

/** The server's line for people. @param {unknown} error */
function lineOf(error) {
  const [line, details] = String(error instanceof Error ? error.message : error).split('\n\nDetails:');
  return details === undefined ? UNKNOWN : line.trim();
}

/**
 * @param {SalienceMaps} module
 * @param {string} name the row's
 * @param {string} line
 */
export const failure = (module, name, line) => html`
  <div class="failed" role="alert">
    <span>${line}</span>
    <button type="button" @click=${() => module.runInterpreter(name)}>Try again</button>
  </div>`;
