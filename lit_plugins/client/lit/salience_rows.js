/**
 * Our methods' rows in LIT's Salience Maps: the text in colours, their meaning, and how they came
 * about; and the choice, for all rows at once, of tokens or words. LIT draws the same answer, without
 * what it does not know, as rows of chips.
 * @module
 */

/** @import {About, Explanation, Unit} from '../core/types.js' */
/** @import {Detail, SalienceMaps} from './salience_lit.js' */

import {about} from '../core/about.js';
import {Card} from '../parts/card.js';
import {ColouredText} from '../parts/coloured_text.js';
import {Heading} from '../parts/heading.js';
import {Legend} from '../parts/legend.js';
import {UnitBar} from '../parts/unit_bar.js';
import {html as preact, render, useMemo} from '../vendor/htm_preact.js';
import {failure} from './salience_answers.js';
import {html} from './template.js';

/** @type {Unit[]} */
const UNITS = ['token', 'word'];
/** What LIT needs to draw our scores, and we do not. */
const OF_CHIPS = 'scale to 1';

/** What all Salience Maps of the page share. @type {{about: About | null, unit: Unit}} */
const shared = {about: null, unit: 'word'};
/** @type {Set<SalienceMaps>} */
const modules = new Set();
/** Where our rows are drawn, by their names. @type {WeakMap<SalienceMaps, Map<string, HTMLElement>>} */
const hosts = new WeakMap();
/** @type {WeakMap<SalienceMaps, string>} the row that LIT is drawing */
const drawn = new WeakMap();

about().then((found) => {
  shared.about = found;
  drawAgain();
}, (error) => console.warn(`lit_plugins: Salience Maps stay as LIT draws them. ${error.message}`));

/** The colours, once they are known. */
export const colours = () => shared.about?.colours ?? null;

/** Whether a row is one of our methods'. @param {string} name */
export const isOurs = (name) => shared.about?.methods.some((method) => method.title === name) ?? false;

function drawAgain() {
  for (const module of modules) {
    if (module.isConnected) module.requestUpdate();
    else modules.delete(module);
  }
}

/** @param {SalienceMaps} prototype */
export function drawOurRows(prototype) {
  const {renderImpl, renderHeaderControls, renderMethodControls, renderMethodRow, renderGroup} = prototype;

  prototype.renderImpl = function() {
    modules.add(this);
    return renderImpl.call(this);
  };

  prototype.renderHeaderControls = function() {
    const controls = renderHeaderControls.call(this);
    if (!Object.keys(this.state).some(isOurs)) return controls;
    const host = hostOf(this, '', 'unit-choice');
    render(preact`<${UnitBar} units=${UNITS} unit=${shared.unit} pattern=""
      onChange=${choose} />`, host);
    return html`${controls}<div class="module-toolbar">${host}</div>`;
  };

  prototype.renderMethodControls = function(name) {
    const controls = renderMethodControls.call(this, name);
    // The dialog's fields are a copy of what the server has said, made for this drawing.
    if (isOurs(name)) {
      for (const value of controls?.values ?? []) {
        if (value instanceof Object && OF_CHIPS in value) Reflect.deleteProperty(value, OF_CHIPS);
      }
    }
    return controls;
  };

  prototype.renderMethodRow = function(name) {
    drawn.set(this, name);
    return renderMethodRow.call(this, name);
  };

  prototype.renderGroup = function(salience, spec, key, cmap, title) {
    const name = drawn.get(this) ?? '';
    if (salience.litPluginsError) return failure(this, name, salience.litPluginsError.line);
    const detail = salience.about?.detail;
    if (!detail || !shared.about) return renderGroup.call(this, salience, spec, key, cmap, title);
    if (key !== 'about') return null;
    const host = hostOf(this, name, 'explained');
    render(preact`<${Explained} title=${name} detail=${detail} unit=${shared.unit}
      colours=${shared.about.colours} />`, host);
    return host;
  };
}

/** @param {{unit?: Unit}} change */
function choose({unit}) {
  if (unit) shared.unit = unit;
  drawAgain();
}

/**
 * @param {SalienceMaps} module
 * @param {string} name
 * @param {string} style
 */
function hostOf(module, name, style) {
  const known = hosts.get(module) ?? new Map();
  hosts.set(module, known);
  if (!known.has(name)) {
    const host = document.createElement('div');
    host.className = `lit-plugins ${style}`;
    known.set(name, host);
  }
  return known.get(name);
}

/** @param {{title: string, detail: Detail, unit: Unit, colours: About['colours']}} props */
function Explained({title, detail, unit, colours}) {
  const {rows, unit: shown, most} = useMemo(() => shownOf(detail, unit), [detail, unit]);
  const {signed, units, card} = detail;
  return preact`
    <section aria-label=${title}>
      <${Heading} parts=${[card.heading, ...card.about.slice(0, 1)]} />
      <${Legend} colours=${colours} most=${most} signed=${signed}
        units=${`${units}, each ${shown}`} />
      ${rows.map(({name, pieces}) => preact`<div class="row" key=${name}>
        ${name && preact`<div class="name">${name}</div>`}
        <${ColouredText} pieces=${pieces} colours=${colours} most=${most} signed=${signed}
          units=${units} label=${`${name || card.heading} ${title}`} />
      </div>`)}
      <${Card} explanation=${/** @type {Explanation} */ (/** @type {unknown} */ (detail))} />
    </section>`;
}

/**
 * The parts by the unit chosen, or by the one there is, and the largest score of all rows.
 * @param {Detail} detail
 * @param {Unit} chosen
 */
function shownOf(detail, chosen) {
  const [{views}] = detail.rows;
  const unit = chosen in views ? chosen : /** @type {Unit} */ (Object.keys(views)[0]);
  const rows = detail.rows.map(({name, views}) => ({name, pieces: [...views[unit] ?? []]}));
  const scores = rows.flatMap(({pieces}) => pieces.map((piece) => Math.abs(piece.score ?? 0)));
  return {rows, unit, most: scores.reduce((one, other) => Math.max(one, other), 0)};
}
