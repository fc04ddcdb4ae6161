/**
 * What our modules take of LIT's built client, found and checked.
 * @module
 */

/** @import {LitModule} from './lit.js' */

/** On LitModule's prototype, or on what its elements have. */
const METHODS = ['renderImpl', 'loadLatest', 'updated', 'react', 'reactImmediately'];

/**
 * LIT's base class of modules, and the style sheet that all of them share.
 * @typedef {object} Lit
 * @property {typeof LitModule} LitModule
 * @property {CSSStyleSheet} styles
 * @property {(module: LitModule, side: number) => LitModule['selectionService']} selection
 */

/**
 * @returns {Lit}
 * @throws {Error} that says what is missing
 */
export function lit() {
  const sequence = /** @type {any} */ (customElements.get('sequence-salience-module'));
  if (sequence === undefined) throw new Error('There is no sequence-salience-module.');
  const LitModule = Object.getPrototypeOf(Object.getPrototypeOf(sequence));
  const missing = METHODS.filter((name) => !(name in (LitModule.prototype ?? {})));
  const service = Object.getOwnPropertyDescriptor(LitModule.prototype ?? {}, 'selectionService');
  const styles = sequence.styles?.[0]?.styleSheet;
  if (!service?.get) missing.push('selectionService');
  if (!(styles instanceof CSSStyleSheet)) missing.push('styles');
  if (missing.length) throw new Error(`LIT's modules have no ${missing.join(', ')}.`);
  // A module knows the selection of its own side; the getter knows the other's as well.
  const selection = (/** @type {LitModule} */ _, /** @type {number} */ side) =>
    service?.get?.call({selectionServiceIndex: side});
  return {LitModule, styles, selection};
}
