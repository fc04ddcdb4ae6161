/**
 * From a score to a colour, as `lit_plugins/display/colours.py` does it, from the table that the
 * server makes there.
 * @module
 */

/** @import {Colours} from './types.js' */

const LEVELS = 20;

/**
 * How strong a score is drawn, in whole steps.
 * @param {number} score
 * @param {number} largest the absolute score that has the strongest colour
 * @param {number} [levels]
 * @returns {number} from -levels to levels
 */
export function level(score, largest, levels = LEVELS) {
  const share = largest > 0 ? Math.max(-1, Math.min(1, score / largest)) : 0;
  return Math.sign(share) * Math.round(levels * Math.abs(share));
}

/**
 * The colour behind a text.
 * @param {Colours} table
 * @param {number} score
 * @param {number} largest
 * @param {boolean} signed whether below zero means "against"
 * @returns {string}
 */
export function shade(table, score, largest, signed) {
  const step = level(score, largest, table.levels);
  const colours = !signed ? table.much : step < 0 ? table.against : table.for;
  return colours[Math.abs(step)];
}
