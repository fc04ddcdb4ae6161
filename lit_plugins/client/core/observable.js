/**
 * State that views follow.
 * @module
 */

import {useEffect, useReducer} from '../vendor/htm_preact.js';

/** Tells whoever listens that it has changed. */
export class Observable {
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /**
   * @param {() => void} listener called after each change
   * @returns {() => void} ends it
   */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** To be called after each change. */
  changed() {
    for (const listener of [...this.#listeners]) listener();
  }
}

/**
 * Draws a component again whenever one of these changes.
 * @param {...Observable} sources
 */
export function useObservables(...sources) {
  const [, again] = useReducer((/** @type {number} */ count) => count + 1, 0);
  useEffect(() => {
    const ends = sources.map((source) => source.subscribe(() => again(undefined)));
    return () => ends.forEach((end) => end());
  }, sources);
}
