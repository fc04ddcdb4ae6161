/**
 * What the server says once for the whole page: methods, units, colours.
 * @module
 */

import {ask} from './server.js';

/**
 * @typedef {object} MethodInfo
 * @property {string} name
 * @property {string} title
 * @property {string} family
 * @property {boolean} signed
 * @property {boolean} additive
 * @property {boolean} linear
 * @property {boolean} cheap
 * @property {boolean} by_position
 * @property {string} units
 * @property {string} description
 * @property {string} cost
 * @property {string[]} options
 */

/**
 * @typedef {object} OptionInfo
 * @property {'choice' | 'number' | 'text' | 'flag' | 'steps'} kind
 * @property {string[] | null} choices
 * @property {Record<string, unknown>} [default_by_method]
 * @property {string} help
 */

/**
 * @typedef {object} About
 * @property {MethodInfo[]} methods
 * @property {Record<string, OptionInfo>} options
 * @property {string[]} units
 * @property {import('./colours.js').ColourTable} colours
 * @property {Record<string, {task: string}>} models
 */

/** @type {Promise<About> | undefined} */
let asked;

/**
 * Asked for once; again only after a failure.
 * @param {boolean} [anew] whether something may have changed, as when a model was loaded
 * @returns {Promise<About>} rejects with a ServerError
 */
export function about(anew = false) {
  if (anew) asked = undefined;
  asked ??= ask('about').catch((error) => {
    asked = undefined;
    throw error;
  });
  return /** @type {Promise<About>} */ (asked);
}
