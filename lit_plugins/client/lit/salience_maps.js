/**
 * What we change in LIT's Salience Maps module. Private names of LIT's: without them, it stays as it
 * is.
 * @module
 */

/** @import {SalienceMapsClass} from './salience_lit.js' */

import {keepAnswersInPlace} from './salience_answers.js';
import {colourLitsRows} from './salience_colours.js';
import {drawOurRows} from './salience_rows.js';
import {sheets} from './salience_styles.js';

const NAMES = /** @type {const} */ ([
  'loadLatest', 'clearSalience', 'runInterpreter', 'renderImpl', 'renderHeaderControls',
  'renderMethodControls', 'renderMethodRow', 'renderGroup', 'renderTokenSalience',
  'renderColorLegend', 'renderFooter',
]);

const module = /** @type {SalienceMapsClass | undefined} */ (
  /** @type {unknown} */ (customElements.get('salience-map-module')));
const missing = NAMES.filter((name) => typeof module?.prototype[name] !== 'function');

if (!module || missing.length || !Array.isArray(module.elementStyles)) {
  console.warn(`lit_plugins: this LIT's salience-map-module has no ${missing.join(', ') || 'styles'}.`);
} else {
  module.elementStyles.push(...sheets);
  keepAnswersInPlace(module.prototype);
  drawOurRows(module.prototype);
  colourLitsRows(module.prototype);
}
