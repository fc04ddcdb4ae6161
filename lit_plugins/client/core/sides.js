/**
 * What is compared: two sides, each an example, a model and a method.
 * @module
 */

/** @import {About, Example, Method, Page} from './types.js' */
/** @import {Session} from './session.js' */

import {Observable} from './observable.js';

/** @typedef {Pick<Session, 'target' | 'span' | 'choice' | 'options' | 'unit' | 'pattern'>} Chosen */

/**
 * What a user has chosen on a side; null for what the page says.
 * @typedef {object} Own
 * @property {string | null} example its id; SAME for the other side's
 * @property {string | null} model
 * @property {string | null} method
 * @property {Record<string, unknown>} options of this method
 */

/**
 * @typedef {object} Side
 * @property {0 | 1} role
 * @property {string} dataset
 * @property {string} model
 * @property {Example | null} example
 * @property {Method} method
 * @property {Chosen} chosen
 */

export const SAME = 'same';

/** @typedef {Partial<Pick<Session, 'target' | 'span' | 'choice'>>} Explained */

/** @returns {Own} */
const nothing = () => ({example: null, model: null, method: null, options: {}});

/** The one that is compared with has the role 0; the selected one, which it is about, the role 1. */
export class Sides extends Observable {
  swapped = false;
  /** @type {[Own, Own]} */
  own = [nothing(), nothing()];
  /** The example selected before this one, and this one. @type {[string | null, string | null]} */
  #seen = [null, null];
  /** What is explained, by where: an answer's part never counts for another answer. */
  #explained = /** @type {Map<string, Explained>} */ (new Map());

  /** Whether the two have methods of their own. */
  get apart() {
    return this.own.some(({method}) => method !== null);
  }

  /**
   * @param {0 | 1} role
   * @param {Partial<Own>} change
   */
  set(role, change) {
    Object.assign(this.own[role], change);
    this.changed();
  }

  swap() {
    this.swapped = !this.swapped;
    this.changed();
  }

  /**
   * What of a side's text is explained.
   * @param {Side} side
   * @param {Explained} change
   */
  explain(side, change) {
    const key = keyOfSide(side);
    this.#explained.set(key, {...this.#explained.get(key), ...change});
    this.changed();
  }

  /**
   * Says which example is selected: whoever comes here later compares it with the one before.
   * @param {Example | null} example
   */
  saw(example) {
    const id = example?.id ?? null;
    if (id !== null && id !== this.#seen[1]) this.#seen = [this.#seen[1], id];
  }

  /**
   * The sides A and B.
   * @param {Page} page
   * @param {About} about
   * @param {Session} session of the page
   * @returns {[Side, Side]}
   */
  of(page, about, session) {
    this.saw(page.example);
    const find = (/** @type {string | null | undefined} */ id) =>
      page.examples.find((one) => one.id === id) ?? null;
    const models = page.models.filter((name) => name in about.models);
    const first = page.model in about.models ? page.model : models[0];
    // With nothing else to compare an example with, two models are compared on it.
    const selected = find(this.own[1].example) ?? page.example;
    const original = page.pinned ?? find(selected?.meta.parentId);
    const two = !original && models.length > 1 && this.own[0].example === null;
    const last = (models.find((name) => name !== first && two)) ?? first;
    const reference = this.own[0].example === SAME ? selected :
        find(this.own[0].example) ?? original ?? (two ? selected : find(this.#seen[0]));
    const side = (/** @type {0 | 1} */ role) => {
      const own = this.own[role];
      const model = own.model !== null && models.includes(own.model) ? own.model : role === 0 ? first : last;
      const name = own.method ?? session.methodFor(about.models[first].task);
      /** @type {Side} */
      const side = {
        role, dataset: page.dataset, model, example: role === 0 ? reference : selected,
        method: about.methods.find((method) => method.name === name) ?? about.methods[0],
        chosen: {
          target: null, span: null, choice: null, unit: session.unit, pattern: session.pattern,
          options: own.method === null ? session.options : own.options,
        },
      };
      side.chosen = {...side.chosen, ...this.#explained.get(keyOfSide(side))};
      return side;
    };
    return this.swapped ? [side(1), side(0)] : [side(0), side(1)];
  }
}

/** @param {Side} side */
const keyOfSide = ({role, dataset, model, example}) => JSON.stringify([role, dataset, model, example?.id]);

/** Those of the page. */
export const sides = new Sides();
