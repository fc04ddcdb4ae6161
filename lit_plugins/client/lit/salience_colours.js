/**
 * Colours of LIT's own interpreters in its Salience Maps. What has a sign is drawn in the colours of
 * our methods, which people who see no difference between red and green can tell apart, and so is what
 * has scores below zero all the same: LIT leaves those white. All else stays as LIT draws it.
 * @module
 */

/** @import {Colours} from '../core/types.js' */
/** @import {Cmap, SalienceMaps} from './salience_lit.js' */

import {shade} from '../core/colours.js';
import {colours, isOurs} from './salience_rows.js';
import {html} from './template.js';

const MEANING = 'Blue: speaks for what is explained. Orange: speaks against it.';

/** @type {WeakMap<Cmap, Cmap>} */
const made = new WeakMap();
/** @type {WeakSet<SalienceMaps>} modules that have drawn scores below zero of what has no sign */
const belowZero = new WeakSet();

/** @param {Cmap} cmap */
const isSigned = (cmap) => cmap.colorScale.domain()[0] < 0;

/**
 * LIT's map of colours, its gamma included, in our colours.
 * @param {Cmap} cmap a signed one
 * @param {Colours} table
 * @returns {Cmap}
 */
function inOurs(cmap, table) {
  const known = made.get(cmap);
  if (known) return known;
  /** @type {Cmap} */
  const ours = Object.create(cmap, {
    bgCmap: {
      value: (/** @type {number} */ score) =>
        shade(table, Math.sign(score) * cmap.lightness(score), 1, true),
    },
    textCmap: {value: () => table.ink},
  });
  made.set(cmap, ours);
  return ours;
}

/** @param {SalienceMaps} prototype */
export function colourLitsRows(prototype) {
  const {renderTokenSalience, renderColorLegend, renderFooter} = prototype;

  prototype.renderTokenSalience = function(tokens, scores, key, cmap, title) {
    const table = colours();
    if (table && !isSigned(cmap) && scores.some((score) => score < 0)) {
      belowZero.add(this);
      cmap = this.signedCmap;
    }
    const ours = table && isSigned(cmap) ? inOurs(cmap, table) : cmap;
    return renderTokenSalience.call(this, tokens, scores, key, ours, title);
  };

  prototype.renderColorLegend = function(label, cmap, blocks) {
    const table = colours();
    const whose = table ? `LIT: ${label.toLowerCase()}` : label;
    if (!table || !isSigned(cmap)) return renderColorLegend.call(this, whose, cmap, blocks);
    return html`<color-legend legendType="sequential" label=${whose} .paletteTooltipText=${MEANING}
      .scale=${inOurs(cmap, table).asScale()} numBlocks=${blocks}></color-legend>`;
  };

  // The legend is for LIT's own rows: ours have theirs in place.
  prototype.renderFooter = /** @this {SalienceMaps} */ function() {
    if (colours()) {
      const own = Object.entries(this.state).filter(([name]) => !isOurs(name)).map(([, row]) => row);
      this.hasSignedSalience = belowZero.has(this) || own.some((row) => isSigned(row.cmap));
      this.hasUnsignedSalience = own.some((row) => !isSigned(row.cmap));
      if (!own.length) return null;
    }
    return renderFooter.call(this);
  };
}
