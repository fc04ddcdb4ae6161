/**
 * How an explanation was computed, and what to beware of, in the words of the server.
 * @module
 */

/** @import {Explanation} from '../core/types.js' */

import {html} from '../vendor/htm_preact.js';

/** @param {{explanation: Explanation, open?: boolean}} props */
export function Card({explanation: {card}, open = false}) {
  return html`
    <section class="card" aria-label="About this explanation">
      ${card.warnings.map((warning) => html`<p class="warning" role="note">
        <span class="material-icon" aria-hidden="true">warning</span> ${warning}</p>`)}
      <details open=${open}>
        <summary>${[card.heading, ...card.about].join(' · ')}</summary>
        <dl>${card.facts.map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}
        </dl>
      </details>
    </section>`;
}
