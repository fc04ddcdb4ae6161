/**
 * What a user has chosen: shared by the modules that show the same example, so that a click in one
 * of them counts in the others.
 * @module
 */

/** @import {Example, Method, Page, Span, Text, Unit} from './types.js' */

import {Observable} from './observable.js';

/** Of models that generate text a quick look, of others what docs/which-method.md advises. */
const FIRST_METHOD = {'text-generation': 'grad_l2'};
const OTHER_FIRST_METHOD = 'integrated_gradients';

export class Session extends Observable {
  /** The example that span, target and choice belong to. */
  #shown = '';
  /** The text that is explained; null for the first there is. @type {string | null} */
  target = null;
  /** Tokens that are explained. @type {Span | null} */
  span = null;
  /** Of models that generate no text. @type {{label: string | null, span: string | null} | null} */
  choice = null;
  /** @type {string | null} */
  method = null;
  /** Options of the engine that differ from its defaults. @type {Record<string, unknown>} */
  options = {};
  /** @type {Unit} */
  unit = 'word';
  pattern = '';

  /**
   * Says which example is looked at; of another one nothing is selected yet.
   * @param {string} key
   */
  show(key) {
    if (key === this.#shown) return;
    this.#shown = key;
    this.target = this.span = this.choice = null;
  }

  /** @param {Partial<Pick<Session, 'target' | 'span' | 'choice' | 'method' | 'options' | 'unit' | 'pattern'>>} change */
  set(change) {
    Object.assign(this, change);
    this.changed();
  }

  /** @param {string | undefined} task */
  methodFor(task) {
    return this.method ??
        /** @type {Record<string, string>} */ (FIRST_METHOD)[task ?? ''] ?? OTHER_FIRST_METHOD;
  }
}

/** @type {Map<string, Session>} */
const sessions = new Map();

/**
 * @param {string} name what it is of: a model and a side of the page
 * @returns {Session}
 */
export function session(name) {
  let found = sessions.get(name);
  if (!found) sessions.set(name, found = new Session());
  return found;
}

/**
 * What says which example it is, as LIT's client tells its server: an id, or what was added since.
 * @param {Example} example
 */
export const sent = (example) => (example.meta.added ? example : example.id);

/**
 * The question for the text of an example: its tokens, parts and what may be explained.
 * @param {Pick<Page, 'model' | 'dataset'> & {example: Example}} page
 * @param {Pick<Session, 'target' | 'unit' | 'pattern'>} chosen
 */
export function textQuestion({model, dataset, example}, chosen) {
  const pattern = chosen.unit === 'regex' && chosen.pattern ? chosen.pattern : null;
  return {model, dataset, example: sent(example), target: chosen.target, pattern};
}

/**
 * The question that the method answers; null while nothing to be explained is chosen.
 * @param {Pick<Page, 'model' | 'dataset'> & {example: Example}} page
 * @param {Pick<Session, 'choice' | 'options' | 'unit' | 'pattern'>} chosen
 * @param {Text} text
 * @param {Method} method
 * @param {Span[] | null} spans
 * @param {Record<string, unknown>} [more] options
 */
export function question({model, dataset, example}, chosen, text, method, spans, more = {}) {
  if (text.target === null ? chosen.choice === null : spans === null) return null;
  const known = Object.entries(chosen.options).filter(([name]) => method.options.includes(name));
  /** @type {Record<string, unknown>} */
  const options = {...Object.fromEntries(known), ...more};
  // Scores of tokens are summed here; of larger parts they are others, so they are asked for.
  if (!method.by_position) {
    const regex = chosen.unit === 'regex';
    options.segment = regex && !chosen.pattern ? 'token' : chosen.unit;
    if (regex && chosen.pattern) options.pattern = chosen.pattern;
  }
  return {
    model, dataset, example: sent(example), target: text.target, spans, choice: chosen.choice,
    method: method.name, options,
  };
}
