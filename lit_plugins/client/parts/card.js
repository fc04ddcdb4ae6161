/**
 * How an explanation was computed, and what to beware of, in the words of the server.
 * @module
 */

/** @import {Explanation} from '../core/types.js' */

import {duration} from '../core/words.js';
import {html} from '../vendor/htm_preact.js';

/** @param {{explanation: Explanation, open?: boolean}} props */
export function Card({explanation, open = false}) {
  const {card, forward, backward, seconds, convergence_error: error} = explanation;
  const about = [
    `${forward} forward and ${backward} backward passes`, duration(seconds),
    error !== null && `convergence error ${(100 * error).toPrecision(2)} %`,
  ];
  return html`
    <section class="card" aria-label="About this explanation">
      ${card.warnings.map((warning) => html`<p class="warning" role="note">
        <span class="material-icon" aria-hidden="true">warning</span> ${warning}</p>`)}
      <details open=${open}>
        <summary>About these scores: ${about.filter(Boolean).join(', ')}</summary>
        <dl>${card.facts.map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}
        </dl>
      </details>
    </section>`;
}
