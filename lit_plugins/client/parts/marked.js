/**
 * A text with what another one does not have marked.
 * @module
 */

/** @import {Run} from '../core/diff.js' */

import {html} from '../vendor/htm_preact.js';

/** @param {{runs: Run[], mark: 'ins' | 'del'}} props */
export function Marked({runs, mark}) {
  return html`<span>${runs.map(({text, marked}) => (
    !marked ? text : mark === 'ins' ? html`<ins>${text}</ins>` : html`<del>${text}</del>`))}</span>`;
}
