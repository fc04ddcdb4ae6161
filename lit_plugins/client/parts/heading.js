/**
 * What is explained and how, on a line. Each part of it may be written from right to left.
 * @module
 */

import {html} from '../vendor/htm_preact.js';

/** @param {{parts: string[], role?: string}} props */
export function Heading({parts, role}) {
  return html`<p class="heading" role=${role}>${parts.map((part, number) => (
    html`${number > 0 && ' · '}<bdi>${part}</bdi>`))}</p>`;
}
