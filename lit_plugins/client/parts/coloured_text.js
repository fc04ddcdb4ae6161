/**
 * A text whose parts are coloured by their scores. Parts of what may be explained are clicked, or
 * chosen by keyboard: arrows move, Enter selects, with Shift up to there, Escape clears.
 * @module
 */

/** @import {Colours, Piece, Span} from '../core/types.js' */

import {shade} from '../core/colours.js';
import {exact, visible} from '../core/words.js';
import {html, useLayoutEffect, useMemo, useRef} from '../vendor/htm_preact.js';
import {Marked} from './marked.js';

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

/**
 * @typedef {object} Props
 * @property {Piece[]} pieces
 * @property {Colours} colours
 * @property {number} most the score that has the strongest colour
 * @property {boolean} signed
 * @property {string} units of a score
 * @property {string} label what the text is, read aloud
 * @property {(piece: Piece) => boolean} [selectable] whether it may be explained
 * @property {Span | null} [selected] what is explained
 * @property {(span: Span | null) => void} [onSelect]
 * @property {boolean} [busy]
 */

/** @param {Props} props */
export function ColouredText(props) {
  const {pieces, colours, most, signed, units, label, busy = false} = props;
  const selectable = props.selectable ?? (() => false);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const tip = useRef(/** @type {HTMLElement | null} */ (null));
  const current = useRef(-1); // the part that Tab leads to
  if (!(current.current in pieces)) current.current = pieces.findIndex(selectable);
  if (current.current < 0) current.current = 0;

  const direction = useMemo(() => directionOf(pieces), [pieces]);
  const ahead = direction === 'rtl' ? -1 : 1;

  useLayoutEffect(() => hide(tip.current), [pieces]);

  const numberOf = (/** @type {Event} */ event) => {
    const part = /** @type {HTMLElement} */ (event.target).closest('[data-number]');
    return part === null ? -1 : Number(/** @type {HTMLElement} */ (part).dataset.number);
  };
  const partAt = (/** @type {number} */ number) =>
    /** @type {HTMLElement | undefined} */ (box.current?.querySelectorAll('[data-number]')[number]);

  const show = (/** @type {Event} */ event) => {
    const number = numberOf(event);
    const piece = pieces[number];
    if (!piece || piece.score === null || !tip.current) return hide(tip.current);
    tip.current.textContent = `${exact(piece.score)} ${units}`;
    tip.current.hidden = false;
    place(tip.current, /** @type {HTMLElement} */ (partAt(number)));
  };
  const select = (/** @type {number} */ number, /** @type {boolean} */ extend) => {
    const piece = pieces[number];
    if (!piece || !selectable(piece) || !props.onSelect) return;
    const {start, stop} = piece;
    const old = props.selected ?? null;
    if (extend && old) props.onSelect([Math.min(start, old[0]), Math.max(stop, old[1])]);
    else if (old && old[0] === start && old[1] === stop) props.onSelect(null);
    else props.onSelect([start, stop]);
  };
  const move = (/** @type {number} */ number) => {
    if (!(number in pieces)) return;
    partAt(current.current)?.setAttribute('tabindex', '-1');
    current.current = number;
    partAt(number)?.setAttribute('tabindex', '0');
    partAt(number)?.focus();
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const at = numberOf(event);
    if (at < 0) return;
    switch (event.key) {
      case 'ArrowRight': move(at + ahead); break;
      case 'ArrowLeft': move(at - ahead); break;
      case 'ArrowDown': move(nextLine(box.current, at, 1)); break;
      case 'ArrowUp': move(nextLine(box.current, at, -1)); break;
      case 'Home': move(0); break;
      case 'End': move(pieces.length - 1); break;
      case 'Enter': case ' ': select(at, event.shiftKey); break;
      case 'Escape': props.onSelect?.(null); break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const onClick = (/** @type {MouseEvent} */ event) => {
    const number = numberOf(event);
    if (number < 0) return;
    current.current = number;
    select(number, event.shiftKey);
    if (event.shiftKey) document.getSelection()?.removeAllRanges();
  };

  // Once for each text and its scores: there may be thousands.
  const parts = useMemo(() => pieces.flatMap((piece, number) => part({
    piece, number, units, reached: number === current.current, can: selectable(piece),
    colour: piece.score === null ? '' : shade(colours, piece.score, most, signed),
    first: piece.target && !joined(pieces[number - 1], piece),
    last: piece.target && !joined(piece, pieces[number + 1]),
  })), [pieces, colours, most, signed, units]);

  return html`
    <div class="text-frame">
      <div class="text" ref=${box} role="listbox" aria-label=${label} aria-multiselectable="true"
        aria-busy=${busy} dir=${direction} onClick=${onClick} onKeyDown=${onKeyDown}
        onMouseOver=${show} onfocusin=${show}
        onMouseLeave=${() => hide(tip.current)} onfocusout=${() => hide(tip.current)}>
        ${parts}
      </div>
      <div class="tip" role="tooltip" ref=${tip} hidden></div>
    </div>`;
}

/**
 * One part; the white space around it has no colour. Neighbours that are explained share a frame. No
 * component, and in no list of its own: Preact would remove thousands of them one by one.
 * @param {{piece: Piece, number: number, reached: boolean, can: boolean, colour: string, units: string,
 *   first: boolean, last: boolean}} props first and last: whether the frame begins or ends here
 */
function part({piece, number, reached, can, colour, units, first, last}) {
  const marked = piece.differs?.runs.filter(({marked}) => marked).map(({text}) => text) ?? [];
  const inner = marked.length ? html`<${Marked} ...${piece.differs} />` :
      piece.text.trim() || (piece.score === null && !piece.target ? '' : visible(piece.text));
  const [before, after] = piece.text.trim() ? around(piece.text) : ['', piece.text];
  const classes = ['piece', can && 'can', piece.target && 'target', first && 'first', last && 'last',
    !piece.own && 'aside'];
  const gap = (/** @type {string} */ space, /** @type {boolean} */ outside) =>
    (!space || !piece.target || outside ? space : html`<span class="gap">${space}</span>`);
  const said = [
    visible(piece.text), piece.score !== null && `${exact(piece.score)} ${units}`,
    piece.target && 'explained', marked.length > 0 && `differs: ${marked.join(' … ')}`,
  ];
  return [gap(before, first), html`<span key=${number} class=${classes.filter(Boolean).join(' ')} role="option"
    data-number=${number} data-start=${piece.start} data-stop=${piece.stop} tabindex=${reached ? 0 : -1} aria-selected=${piece.target}
    aria-disabled=${!can} aria-label=${said.filter(Boolean).join(', ')}
    style=${{backgroundColor: piece.target ? '' : colour}}>${inner}</span>`, gap(after, last)];
}

/**
 * That of the user's text, whatever the model's own marks before it are.
 * @param {Piece[]} pieces
 */
function directionOf(pieces) {
  const letter = pieces.find(({own, text}) => own && /\p{L}/u.test(text))?.text.match(/\p{L}/u);
  return letter && RIGHT_TO_LEFT.test(letter[0]) ? 'rtl' : 'ltr';
}

/**
 * Whether a frame goes on from one part to the next: what is written from right to left may stand
 * elsewhere than beside it.
 * @param {Piece | undefined} one
 * @param {Piece | undefined} next
 */
const joined = (one, next) => Boolean(one?.target && next?.target) &&
    !RIGHT_TO_LEFT.test(`${one?.text}${next?.text}`);

/**
 * The white space before and behind.
 * @param {string} text
 */
function around(text) {
  return [text.slice(0, text.length - text.trimStart().length), text.slice(text.trimEnd().length)];
}

/** @param {HTMLElement | null} tip */
export function hide(tip) {
  if (tip) tip.hidden = true;
}

/**
 * Puts the tip above a part, and inside the frame.
 * @param {HTMLElement} tip
 * @param {HTMLElement} part
 */
export function place(tip, part) {
  const frame = /** @type {HTMLElement} */ (tip.parentElement).getBoundingClientRect();
  const [box] = part.getClientRects();
  if (!box) return;
  const left = Math.min(box.left - frame.left, frame.width - tip.offsetWidth);
  const above = box.top - frame.top - tip.offsetHeight - 2;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${above >= 0 ? above : box.bottom - frame.top + 2}px`;
}

/**
 * The part next to this one on the line below (1) or above (-1).
 * @param {HTMLElement | null} box
 * @param {number} at
 * @param {1 | -1} step
 */
function nextLine(box, at, step) {
  const parts = /** @type {HTMLElement[]} */ ([...(box?.querySelectorAll('[data-number]') ?? [])]);
  const middle = (/** @type {DOMRect} */ rect) => rect.left + rect.width / 2;
  const here = parts[at].getClientRects()[step > 0 ? parts[at].getClientRects().length - 1 : 0];
  let best = at;
  let line = NaN;
  for (let number = at + step; number in parts; number += step) {
    const rects = parts[number].getClientRects();
    if (!rects.length) continue;
    const rect = rects[step > 0 ? 0 : rects.length - 1];
    if (Math.abs(rect.top - here.top) < 4) continue;
    if (Number.isNaN(line)) line = rect.top;
    if (Math.abs(rect.top - line) > 4) break;
    const closer = Math.abs(middle(rect) - middle(here)) <
        Math.abs(middle(parts[best].getClientRects()[0]) - middle(here));
    if (best === at || closer) best = number;
  }
  return best;
}
