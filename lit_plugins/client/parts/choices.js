/**
 * What a model says that generates no text: labels, tagged words, answers. One of them is explained.
 * @module
 */

/** @import {Choice} from '../core/types.js' */

import {html} from '../vendor/htm_preact.js';

/**
 * @param {object} props
 * @param {Choice[]} props.choices
 * @param {{label: string | null, span: string | null} | null} props.chosen
 * @param {(choice: {label: string | null, span: string | null} | null) => void} props.onChoose
 */
export function Choices({choices, chosen, onChoose}) {
  const isChosen = (/** @type {Choice} */ one) =>
    chosen !== null && one.label === chosen.label && one.span === chosen.span;
  return html`
    <div class="choices" role="group" aria-label="What is explained">
      ${choices.map((one) => html`<button aria-pressed=${isChosen(one)}
        class=${one.chosen ? 'predicted' : ''}
        onClick=${() => onChoose(isChosen(one) ? null : {label: one.label, span: one.span})}>
        ${one.name}<span class="note">${one.value}</span></button>`)}
    </div>`;
}
