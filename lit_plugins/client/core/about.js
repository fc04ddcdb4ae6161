/**
 * What the server says once for the whole page: methods, options, units, colours.
 * @module
 */

/** @import {About} from './types.js' */

import {ask} from './server.js';

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
  return asked;
}
