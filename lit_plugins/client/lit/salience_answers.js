/**
 * In LIT's Salience Maps, an answer belongs to its question: in LIT 1.3.1 a slow one is drawn below
 * whatever example or class was chosen since, and a refused one leaves its spinner for ever, over all
 * that could be clicked. A refused one's error is shown in its row, until that is run again.
 *
 * And a question is asked once: LIT asks three times for each example, twice before it knows which
 * class the model has predicted, and asks for each of those that are only passed by.
 * @module
 */

/** @import {SalienceMaps} from './salience_lit.js' */

import {html} from './template.js';

const REQUEST = 'interpretations-';
const PREDICTIONS = 'modelPreds';
const UNKNOWN = 'The server has not answered. Is it still running?';
/** Requests of a row at the same time: one that nobody needs any more, and the one that is needed. */
const MOST = 2;

/** @typedef {{underway: number, waits: boolean}} Row its requests; whether it will be run */
/** @type {WeakMap<SalienceMaps, Map<string, Row>>} */
const rows = new WeakMap();

/** @param {SalienceMaps} module @param {string} name @returns {Row} */
function rowOf(module, name) {
  const known = rows.get(module) ?? new Map();
  rows.set(module, known);
  if (!known.has(name)) known.set(name, {underway: 0, waits: false});
  return known.get(name);
}

/** What is explained: an answer is of use only while that is the same. @param {SalienceMaps} module */
const question = (module) => [module.currentData, module.targetField, module.salienceTarget];

/** For an answer that nobody waits for: whoever does is forgotten with it. @returns {Promise<any>} */
const never = () => new Promise(() => undefined);

/** @param {SalienceMaps} prototype */
export function keepAnswersInPlace(prototype) {
  const {loadLatest, clearSalience, runInterpreter} = prototype;

  prototype.loadLatest = async function(key, promise) {
    if (key !== PREDICTIONS && !key.startsWith(REQUEST)) return loadLatest.call(this, key, promise);
    const name = key.slice(REQUEST.length);
    const row = rowOf(this, name);
    const asked = question(this);
    const isWanted = () => {
      const now = question(this);
      if (key === PREDICTIONS || asked.every((one, place) => one === now[place])) return true;
      this.state[name].isLoading = false;
      return false;
    };
    row.underway += 1;
    try {
      const answer = await loadLatest.call(this, key, promise);
      // LIT would put the predicted class in the place of one that was chosen since.
      if (key === PREDICTIONS && this.salienceTarget !== undefined) return null;
      return answer !== null && isWanted() ? answer : never(); // null: it was asked again since
    } catch (error) {
      if (this.latestLoadPromises.get(key) !== promise) return never();
      this.latestLoadPromises.delete(key);
      this.setIsLoading(false);
      if (!isWanted()) return never();
      throw error;
    } finally {
      row.underway -= 1;
      setTimeout(() => runWhatWaits(this)); // when LIT has seen the answer
    }
  };

  prototype.clearSalience = function() {
    clearSalience.call(this);
    for (const [name, state] of Object.entries(this.state)) {
      state.isLoading = false;
      rowOf(this, name).waits = false;
    }
  };

  prototype.runInterpreter = async function(name) {
    const row = rowOf(this, name);
    const state = this.state[name];
    row.waits = mustWait(this, row);
    if (row.waits) {
      state.isLoading = true;
      return;
    }
    if (state.salience.litPluginsError) state.salience = {};
    try {
      await runInterpreter.call(this, name);
    } catch (error) {
      state.isLoading = false;
      state.salience = {litPluginsError: {line: lineOf(error)}};
    }
  };
}

/**
 * Whether it is too early to ask.
 * @param {SalienceMaps} module
 * @param {Row} row
 */
function mustWait(module, row) {
  if (!module.currentData) return false; // nothing will be asked
  const classIsUnderway = module.labelVocab?.length && module.salienceTarget === undefined &&
      module.latestLoadPromises.has(PREDICTIONS);
  return Boolean(classIsUnderway) || row.underway >= MOST;
}

/** @param {SalienceMaps} module */
function runWhatWaits(module) {
  for (const [name, row] of rows.get(module) ?? []) {
    if (row.waits) module.runInterpreter(name);
  }
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
