/**
 * What answers would cost, before they are asked for.
 * @module
 */

import {useEffect, useState} from '../vendor/htm_preact.js';
import {keyOf} from './answers.js';
import {ask} from './server.js';

/**
 * Of each method, by its name.
 * @typedef {Record<string, {forward: number, backward: number, seconds: number | null}>} Costs
 */

/**
 * @param {{method: string}} question whatever its method
 * @returns {Promise<Costs>} rejects with a ServerError
 */
export function costs(question) {
  const {method: _, ...others} = question;
  return ask('costs', others);
}

/**
 * What a question's own method costs; null while that is not known.
 * @param {{method: string} | null} question
 */
export function useCost(question) {
  const [known, setKnown] = useState(/** @type {{key: string, costs: Costs} | null} */ (null));
  const key = question === null ? '' : keyOf(question);
  useEffect(() => {
    if (question === null) return undefined;
    let shown = true;
    ask('costs', question).then((found) => shown && setKnown({key, costs: found}), () => undefined);
    return () => void (shown = false);
  }, [key]);
  if (question === null || known?.key !== key) return null;
  return known.costs[question.method] ?? null;
}
