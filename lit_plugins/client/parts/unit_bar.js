/**
 * Which parts of the text have one score each.
 * @module
 */

/** @import {Unit} from '../core/types.js' */

import {html} from '../vendor/htm_preact.js';

/** Of others their name. @type {Partial<Record<Unit, string>>} */
const TITLES = {
  token: 'Tokens', word: 'Words', sentence: 'Sentences', line: 'Lines', paragraph: 'Paragraphs',
  example: 'Examples', regex: '.*',
};
/** @type {Partial<Record<Unit, string>>} */
const HINTS = {
  example: 'Few-shot examples: paragraphs that begin with the same label',
  regex: 'What a regular expression matches',
};

/**
 * @param {object} props
 * @param {Unit[]} props.units
 * @param {Unit} props.unit
 * @param {string} props.pattern
 * @param {(change: {unit?: Unit, pattern?: string}) => void} props.onChange
 */
export function UnitBar({units, unit, pattern, onChange}) {
  const typed = (/** @type {Event} */ event) =>
    onChange({pattern: /** @type {HTMLInputElement} */ (event.target).value});
  return html`
    <div class="unit-bar" role="radiogroup" aria-label="Parts">
      ${units.map((one) => html`<label class=${one === unit ? 'on' : ''} title=${HINTS[one] ?? ''}>
        <input type="radio" name="unit" value=${one} checked=${one === unit}
          onChange=${() => onChange({unit: one})} />${TITLES[one] ?? one}</label>`)}
      ${unit === 'regex' && html`<input class="pattern" type="text" value=${pattern}
        aria-label="Regular expression" placeholder="regular expression, Enter" spellcheck=${false}
        onChange=${typed} />`}
    </div>`;
}
