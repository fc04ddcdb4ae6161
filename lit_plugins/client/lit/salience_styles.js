/**
 * Style sheets for LIT's Salience Maps: those of our modules' parts, and what is there alone.
 * @module
 */

import {sheet} from './styles.js';

const STYLE = `
  .method-row-contents { position: relative; }
  .method-results { flex: 1; min-width: 0; min-height: 24px; }
  .spinner-container { pointer-events: none; }
  .unit-choice, .explained { display: block; height: auto; }
  .explained .name { font-weight: 500; }
  .explained .row + .row { margin-top: 8px; }
  .failed {
    display: flex; gap: 12px; align-items: baseline; padding: 4px 8px; border-radius: 4px;
    background: var(--google-red-50); color: #8c1d18; overflow-wrap: anywhere;
  }
  .failed button {
    flex: none; margin-left: auto; border: 0; padding: 0; background: none; color: inherit;
    font: inherit; text-decoration: underline; cursor: pointer;
  }
`;

const own = new CSSStyleSheet();
own.replaceSync(STYLE);

export const sheets = [sheet, own];
