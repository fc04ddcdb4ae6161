/**
 * What the colours mean: by their names, the scores at their ends, and the units.
 * @module
 */

/** @import {Colours} from '../core/types.js' */

import {shade} from '../core/colours.js';
import {short} from '../core/words.js';
import {html} from '../vendor/htm_preact.js';

const STEPS = [1, 0.75, 0.5, 0.25, 0];

/**
 * @param {{colours: Colours, most: number, signed: boolean, units: string, ends?: [string, string]}} props
 *   ends: what the lowest and the highest is called
 */
export function Legend({colours, most, signed, units, ends}) {
  const shares = signed ? [...STEPS.map((share) => -share), ...STEPS.toReversed().slice(1)] :
      STEPS.toReversed();
  const [low, high] = ends ?? (signed ? ['against', 'for'] : ['little', 'much']);
  return html`
    <div class="legend" role="img"
      aria-label=${`Colours: ${low} to ${high}; the strongest is ${short(most)} ${units}`}>
      <span>${low} ${signed ? short(-most) : '0'}</span>
      ${shares.map((share) => html`<span class="swatch"
        style=${{backgroundColor: shade(colours, share, 1, signed)}}></span>`)}
      <span>${short(most)} ${high}</span>
      <span class="units">${units}</span>
    </div>`;
}
