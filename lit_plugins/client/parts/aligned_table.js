/**
 * Two texts side by side, row by row, with the difference of their scores. Arrows move from part to
 * part; the pointer and the keyboard show the exact numbers.
 * @module
 */

/** @import {Cell, Comparison, Row} from '../core/aligned.js' */
/** @import {Colours, Piece} from '../core/types.js' */

import {stretches, UNPAIRED} from '../core/aligned.js';
import {shade} from '../core/colours.js';
import {words} from '../core/diff.js';
import {largest} from '../core/segments.js';
import {exact, short, visible} from '../core/words.js';
import {html, useLayoutEffect, useMemo, useRef, useState} from '../vendor/htm_preact.js';
import {hide, place} from './coloured_text.js';
import {Marked} from './marked.js';

const FEWEST = 3; // rows that are folded

/**
 * @typedef {object} Scale
 * @property {number} most the score that has the strongest colour
 * @property {boolean} signed
 * @property {string} units
 */

/**
 * @param {object} props
 * @param {Row[]} props.rows
 * @param {boolean} props.inLines whether a row has many parts
 * @param {string} props.noun what a row is, in the plural
 * @param {Colours} props.colours
 * @param {Scale} props.a
 * @param {Scale} props.b
 * @param {Comparison | null} props.compared null while there are not two explanations
 */
export function AlignedTable({rows, inLines, noun, colours, a, b, compared}) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const tip = useRef(/** @type {HTMLElement | null} */ (null));
  const [open, setOpen] = useState(/** @type {ReadonlySet<string>} */ (new Set()));
  const parts = useMemo(() => stretches(rows), [rows]);
  const most = largest(rows.flatMap(({cells}) => cells.map(({difference}) => difference)));
  useLayoutEffect(() => hide(tip.current), [rows]);
  // Tab leads to one part; arrows to the others.
  useLayoutEffect(() => {
    const all = reachable(box.current);
    if (!all.some((part) => part.tabIndex === 0)) all[0]?.setAttribute('tabindex', '0');
  });

  const said = (/** @type {Cell} */ cell) => {
    const one = (/** @type {string} */ name, /** @type {Piece | null} */ piece, /** @type {number} */ factor) =>
      piece && piece.score !== null && `${name} ${exact(piece.score)}${
        compared?.shares ? ` (share ${short(piece.score * factor)})` : ''}`;
    const units = a.units === b.units || !cell.b ? a.units : cell.a ? '' : b.units;
    return [
      cell.kind !== 'equal' && UNPAIRED[cell.kind], one('A', cell.a, compared?.a ?? 1),
      one('B', cell.b, compared?.b ?? 1),
      cell.difference !== null && `B − A ${exact(cell.difference)}${compared?.shares ? ' (shares)' : ''}`,
      (cell.a ?? cell.b)?.score !== null && units,
    ].filter(Boolean).join(', ');
  };
  const show = (/** @type {Event} */ event) => {
    const part = /** @type {HTMLElement} */ (event.target).closest('[data-said]');
    if (!(part instanceof HTMLElement) || !part.dataset.said || !tip.current) return hide(tip.current);
    tip.current.textContent = part.dataset.said;
    tip.current.hidden = false;
    place(tip.current, part);
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const here = /** @type {HTMLElement} */ (event.target);
    const all = reachable(box.current);
    const at = all.indexOf(here);
    if (at < 0) return;
    const next = {
      ArrowRight: () => all[at + 1], ArrowLeft: () => all[at - 1], Home: () => all[0],
      End: () => all[all.length - 1], ArrowDown: () => inNextRow(all, at, 1),
      ArrowUp: () => inNextRow(all, at, -1),
    }[event.key];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    const to = next();
    if (!to) return;
    here.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  };
  const toggle = (/** @type {string} */ key) => {
    const changed = new Set(open);
    if (!changed.delete(key)) changed.add(key);
    setOpen(changed);
  };

  const explained = (/** @type {Cell} */ cell, /** @type {Piece} */ piece, /** @type {Row} */ row,
      /** @type {Scale} */ {most, signed}, /** @type {'ins' | 'del'} */ mark) => {
    const other = piece === cell.a ? cell.b : cell.a;
    const text = piece.text.trim() || visible(piece.text);
    const runs = row.kind === 'equal' || cell.kind === 'equal' ? [] :
        inLines || !other ? [{text, marked: true}] :
          words((cell.a?.text ?? '').trim(), (cell.b?.text ?? '').trim())[mark === 'ins' ? 'b' : 'a'];
    const colour = piece.score === null ? '' : shade(colours, piece.score, most, signed);
    return [before(piece.text), part({text, said: said(cell), colour, runs, mark, own: piece.own}),
      after(piece.text)];
  };
  /** The texts of both in one, with the difference behind them. */
  const merged = (/** @type {Cell} */ cell, /** @type {Row} */ row, /** @type {Cell | undefined} */ last) => {
    const colour = cell.difference === null ? '' : shade(colours, cell.difference, most, true);
    const one = (/** @type {Piece | null} */ piece, /** @type {'ins' | 'del'} */ mark) => {
      if (!piece) return [];
      const text = piece.text.trim() || visible(piece.text);
      const runs = cell.kind === 'equal' || row.kind === 'equal' ? [] : [{text, marked: true}];
      return [before(piece.text), part({text, said: said(cell), colour, runs, mark, own: piece.own}),
        after(piece.text)];
    };
    if (cell.kind === 'equal' || row.kind === 'equal') return one(cell.b, 'ins');
    const removed = cell.a ?? (last?.b ? null : last?.a); // just before what is in its place
    const apart = removed && cell.b && !after(removed.text) && !before(cell.b.text) ? ' ' : '';
    return [...one(cell.a, 'del'), apart, ...one(cell.b, 'ins')];
  };
  const line = (/** @type {Row} */ row, /** @type {number} */ number) => html`
    <div class="row" role="row" key=${number} data-kind=${row.kind}>
      ${column('A', row.cells.flatMap((cell) => (cell.a ? explained(cell, cell.a, row, a, 'del') : [])))}
      ${column('B', row.cells.flatMap((cell) => (cell.b ? explained(cell, cell.b, row, b, 'ins') : [])))}
      ${compared && column('B − A', row.cells.flatMap((cell, at) => (
        inLines ? merged(cell, row, row.cells[at - 1]) :
        cell.difference === null ? html`<span class="note">${UNPAIRED[cell.kind]}</span>` :
        part({
          text: short(cell.difference, true), said: said(cell), own: true, runs: [], mark: 'ins',
          colour: shade(colours, cell.difference, most, true),
        }))), 'difference')}
    </div>`;

  const folded = (/** @type {Row} */ {answer}) => answer ? 'of the answer' : '';
  // Once for its rows, from which all else here follows: there may be thousands of parts.
  const drawn = useMemo(() => parts.map(({first, rows: some, quiet}) => {
    if (!quiet || some.length < FEWEST) return some.map((row, at) => line(row, first + at));
    const key = `${first} ${some.length}`;
    const shown = open.has(key);
    const what = `${some.length} equal ${noun}${compared ? ' without notable difference' : ''}`;
    return html`<div class="fold" role="row" key=${`fold ${key}`}><div role="cell">
      <button aria-expanded=${shown} onClick=${() => toggle(key)}>
        <span class="material-icon no-picture" aria-hidden="true">${shown ? 'expand_less' : 'expand_more'}</span>
        ${what} ${folded(some[0])}</button></div></div>
      ${shown && some.map((row, at) => line(row, first + at))}`;
  }), [rows, open, colours]);
  return html`
    <div class="text-frame">
      <div class=${`aligned ${compared ? (inLines ? 'three' : 'numbers') : 'two'}`} role="table"
        aria-label="A and B, part by part" ref=${box} onKeyDown=${onKeyDown}
        onMouseOver=${show} onfocusin=${show}
        onMouseLeave=${() => hide(tip.current)} onfocusout=${() => hide(tip.current)}>
        <div class="row head" role="row">
          <div role="columnheader">A</div><div role="columnheader">B</div>
          ${compared && html`<div role="columnheader">B − A${compared.shares ? ', shares' : ''}</div>`}
        </div>
        ${drawn}
      </div>
      <div class="tip" role="tooltip" ref=${tip} hidden></div>
    </div>`;
}

/**
 * The parts are all that their element has, and no components: Preact would remove thousands of them
 * one by one.
 * @param {string} name
 * @param {unknown[]} parts
 * @param {string} [style]
 */
const column = (name, parts, style = '') => html`
  <div class=${`cell ${style}`} role="cell" dir="auto">
    <span class="side-name">${name}</span><span>${parts}</span></div>`;

/**
 * @param {object} props
 * @param {string} props.text
 * @param {string} props.said
 * @param {string} props.colour
 * @param {import('../core/diff.js').Run[]} props.runs none if nothing is marked
 * @param {'ins' | 'del'} props.mark
 * @param {boolean} props.own
 */
function part({text, said, colour, runs, mark, own}) {
  const content = runs.length ? html`<${Marked} runs=${runs} mark=${mark} />` : text;
  return html`<span class=${own ? 'piece' : 'piece aside'} role="img" tabindex="-1" data-said=${said}
    aria-label=${said ? `${text}: ${said}` : text} style=${{backgroundColor: colour}}>${content}</span>`;
}

/** @param {string} text */
const before = (text) => (text.trim() ? text.slice(0, text.length - text.trimStart().length).replace(/\n/g, '') : '');
/** @param {string} text */
const after = (text) => (text.trim() ? text.slice(text.trimEnd().length).replace(/\n/g, '') : '');

/**
 * @param {HTMLElement | null} box
 * @returns {HTMLElement[]}
 */
const reachable = (box) => [.../** @type {NodeListOf<HTMLElement>} */ (box?.querySelectorAll('[data-said]') ?? [])];

/**
 * The first part of the same column in the next row (1), or the one before it (-1).
 * @param {HTMLElement[]} all
 * @param {number} at
 * @param {1 | -1} step
 */
function inNextRow(all, at, step) {
  const column = (/** @type {HTMLElement} */ part) => {
    const cell = /** @type {Element} */ (part.closest('.cell'));
    return [...(cell.parentElement?.children ?? [])].indexOf(cell);
  };
  const row = all[at].closest('.row');
  for (let number = at; number in all; number += step) {
    const part = all[number];
    if (part.closest('.row') === row || column(part) !== column(all[at])) continue;
    const cell = /** @type {Element} */ (part.closest('.cell'));
    return /** @type {HTMLElement} */ (cell.querySelector('[data-said]'));
  }
  return undefined;
}
