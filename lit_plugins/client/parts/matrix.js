/**
 * A matrix of scores as coloured cells, one pixel of a canvas each: the browser enlarges them. What
 * a cell says is shown at the pointer, and read at the keyboard's cell.
 * @module
 */

/** @import {Matrix as Numbers} from '../core/matrix.js' */
/** @import {Colours} from '../core/types.js' */

import {shade} from '../core/colours.js';
import {largest} from '../core/segments.js';
import {exact, short, visible} from '../core/words.js';
import {html, useEffect, useLayoutEffect, useMemo, useRef, useState} from '../vendor/htm_preact.js';

const WIDE = 64; // pixels of a cell at most, unless it is enlarged
const NARROW = 18;
const HIGH = 22;
const LEGIBLE = 13; // pixels that a label needs
const STEP = 1.25; // of zoom
const LONGEST = 20; // characters of a label
const MOST_NUMBERS = 1500; // cells whose scores are written into them
const CHARACTER = 6.6; // pixels, about

/**
 * @param {object} props
 * @param {Numbers} props.matrix
 * @param {Colours} props.colours
 * @param {boolean} props.relative whether each row has colours of its own
 * @param {(row: number) => boolean} props.isSelected
 * @param {(row: number | null) => void} props.onSelect
 * @param {string} props.label
 * @param {unknown} props.children of the toolbar
 */
export function Matrix({matrix, colours, relative, isSelected, onSelect, label, children}) {
  const {rows, columns, scores, units} = matrix;
  const frame = useRef(/** @type {HTMLElement | null} */ (null));
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const cells = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const tip = useRef(/** @type {HTMLElement | null} */ (null));
  const stay = useRef(/** @type {{x: number, y: number, left: number, top: number} | null} */ (null));
  const following = useRef(false); // whether the tip is at the keyboard's cell
  const [room, setRoom] = useState({width: 600, height: 300});
  const [zoomed, setZoomed] = useState(/** @type {{width: number, height: number} | null} */ (null));
  const [at, setAt] = useState({row: 0, column: 0});
  const row = Math.min(at.row, rows.length - 1);
  const column = Math.min(at.column, columns.length - 1);

  const beside = 24 + CHARACTER * Math.max(...rows.map(({name}) => cut(name).length));
  const fitting = (room.width - beside) / columns.length;
  const size = zoomed ?? {width: Math.max(NARROW, Math.min(WIDE, fitting)), height: HIGH};
  const longest = Math.max(...columns.map(({text}) => cut(text).length));
  const level = longest * CHARACTER + 6 <= size.width;
  const named = {rows: size.height >= LEGIBLE, columns: level || size.width >= LEGIBLE};
  const written = scores.length * columns.length <= MOST_NUMBERS && size.width >= 46 && size.height >= 16;

  useEffect(() => {
    const area = /** @type {HTMLElement} */ (frame.current?.closest('.module-results-area'));
    const measure = () => setRoom({width: area.clientWidth - 24, height: area.clientHeight});
    const observer = new ResizeObserver(measure);
    observer.observe(area);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (cells.current) paint(cells.current, matrix, colours, relative);
    hide(tip.current);
  }, [matrix, colours, relative]);
  useLayoutEffect(() => {
    if (!stay.current || !box.current || !cells.current) return;
    // What was at the pointer is there again.
    const {x, y, left, top} = stay.current;
    box.current.scrollLeft = x * size.width - left;
    box.current.scrollTop = y * size.height - top;
    stay.current = null;
  }, [size.width, size.height]);

  const zoom = (/** @type {number} */ factor, /** @type {{clientX: number, clientY: number}} */ place) => {
    const canvas = /** @type {HTMLElement} */ (cells.current).getBoundingClientRect();
    const scrolled = /** @type {HTMLElement} */ (box.current);
    const x = place.clientX - canvas.left;
    const y = place.clientY - canvas.top;
    stay.current = {
      x: x / size.width, y: y / size.height, left: x - scrolled.scrollLeft, top: y - scrolled.scrollTop,
    };
    setZoomed({
      width: limit(size.width * factor, 1, 200), height: limit(size.height * factor, 2, 60),
    });
  };
  const zoomHere = (/** @type {number} */ factor) => {
    const rect = /** @type {HTMLElement} */ (box.current).getBoundingClientRect();
    zoom(factor, {clientX: (rect.left + rect.right) / 2, clientY: (rect.top + rect.bottom) / 2});
  };
  const fit = () => setZoomed({
    width: limit(fitting, 1, WIDE),
    height: limit((room.height - 200) / rows.length, 3, HIGH),
  });

  const say = (/** @type {number} */ row, /** @type {number} */ column) => {
    const score = scores[row][column];
    const [to, from] = [quoted(rows[row].name), quoted(columns[column].text)];
    return `${to} by ${from}: ${score === null ? 'no score' : `${exact(score)} ${units}`}`;
  };
  const show = (/** @type {number} */ row, /** @type {number} */ column) => {
    if (!tip.current || !cells.current || !frame.current) return;
    tip.current.textContent = say(row, column);
    tip.current.hidden = false;
    const outer = frame.current.getBoundingClientRect();
    const canvas = cells.current.getBoundingClientRect();
    const left = canvas.left - outer.left + (column + 0.5) * size.width - tip.current.offsetWidth / 2;
    const top = canvas.top - outer.top + row * size.height;
    tip.current.style.left = `${limit(left, 0, room.width - tip.current.offsetWidth)}px`;
    tip.current.style.top = `${top + size.height + 6}px`;
  };
  const placeOf = (/** @type {MouseEvent} */ event) => {
    const canvas = /** @type {HTMLElement} */ (cells.current).getBoundingClientRect();
    const place = {
      row: Math.floor((event.clientY - canvas.top) / size.height),
      column: Math.floor((event.clientX - canvas.left) / size.width),
    };
    return place.row in rows && place.column in columns ? place : null;
  };
  const onPointer = (/** @type {MouseEvent} */ event) => {
    const place = placeOf(event);
    following.current = false;
    if (place) show(place.row, place.column);
    else hide(tip.current);
  };
  const go = (/** @type {number} */ row, /** @type {number} */ column) => {
    const next = {row: limit(row, 0, rows.length - 1), column: limit(column, 0, columns.length - 1)};
    setAt(next);
    following.current = true;
    reveal(/** @type {HTMLElement} */ (box.current), /** @type {HTMLElement} */ (cells.current), next, size);
    show(next.row, next.column);
  };
  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const page = Math.max(1, Math.floor(room.height / 2 / size.height));
    const plain = !event.ctrlKey && !event.metaKey;
    switch (event.key) {
      case 'ArrowRight': go(row, column + 1); break;
      case 'ArrowLeft': go(row, column - 1); break;
      case 'ArrowDown': go(row + 1, column); break;
      case 'ArrowUp': go(row - 1, column); break;
      case 'PageDown': go(row + page, column); break;
      case 'PageUp': go(row - page, column); break;
      case 'Home': go(plain ? row : 0, 0); break;
      case 'End': go(plain ? row : rows.length - 1, columns.length - 1); break;
      case 'Enter': case ' ': onSelect(row); break;
      case 'Escape': hide(tip.current); onSelect(null); break;
      case '+': case '=': if (!plain) return; zoomHere(STEP); break;
      case '-': if (!plain) return; zoomHere(1 / STEP); break;
      case '0': if (!plain) return; fit(); break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const onWheel = (/** @type {WheelEvent} */ event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-limit(event.deltaY, -100, 100) / 300), event);
  };
  const onClick = (/** @type {MouseEvent} */ event) => {
    const place = placeOf(event);
    if (!place) return;
    setAt(place);
    onSelect(place.row);
  };

  const above = useMemo(() => columns.map(({text}, number) => html`
    <span title=${text.trim()} style=${{left: `calc(var(--width) * ${number})`}}>${cut(text)}</span>`), [matrix]);
  const numbers = useMemo(() => written && scores.map((line, row) => line.map((score, column) => (
    score !== null && html`<span style=${{
      left: `calc(var(--width) * ${column})`, top: `calc(var(--height) * ${row})`,
    }}>${short(score, matrix.signed)}</span>`))), [matrix, written]);
  const style = {'--width': `${size.width}px`, '--height': `${size.height}px`,
    '--wide': columns.length, '--high': rows.length};

  return html`
    <div class="matrix-frame" ref=${frame}>
      <div class="matrix-tools no-picture" role="toolbar" aria-label="How the matrix is shown">
        <button aria-label="Smaller" title="Smaller (−)" onClick=${() => zoomHere(1 / STEP)}>−</button>
        <button aria-label="Larger" title="Larger (+)" onClick=${() => zoomHere(STEP)}>+</button>
        <button title="All of it (0)" onClick=${fit}>Fit</button>
        <button title="As at the beginning" disabled=${!zoomed} onClick=${() => setZoomed(null)}>Reset</button>
        ${children}
      </div>
      <div class=${`matrix ${level ? 'level' : ''} ${size.width < 5 || size.height < 5 ? 'dense' : ''}`}
        ref=${box} style=${style} tabindex="0" role="grid" aria-label=${label} aria-readonly="true"
        aria-rowcount=${rows.length} aria-colcount=${columns.length} aria-activedescendant="cell"
        onKeyDown=${onKeyDown} onWheel=${onWheel} onMouseMove=${onPointer}
        onMouseLeave=${() => hide(tip.current)} onScroll=${() => (following.current ? show(row, column) : hide(tip.current))}
        onFocus=${(/** @type {FocusEvent} */ event) =>
          /** @type {Element} */ (event.target).matches(':focus-visible') && show(row, column)}
        onBlur=${() => hide(tip.current)}>
        <div class="matrix-corner"></div>
        <div class="matrix-columns" aria-hidden="true"
          style=${{height: named.columns ? (level ? '20px' : `${longest * CHARACTER + 8}px`) : '6px'}}>
          ${named.columns && above}</div>
        <div class="matrix-rows" aria-hidden="true">
          ${rows.map(({name}, number) => html`<span key=${number} title=${name.trim()}
            class=${isSelected(number) ? 'on' : ''} onClick=${() => onSelect(number)}>
            ${named.rows ? cut(name) : ''}</span>`)}</div>
        <div class="matrix-cells" onClick=${onClick}>
          <canvas ref=${cells} width=${columns.length} height=${rows.length} aria-hidden="true"></canvas>
          <div class="matrix-lines" aria-hidden="true"></div>
          ${numbers && html`<div class="matrix-numbers" aria-hidden="true">${numbers}</div>`}
          ${rows.map((_, number) => isSelected(number) && html`<div key=${number}
            class="matrix-selected" style=${{top: `calc(var(--height) * ${number})`}}></div>`)}
          <div role="row" aria-rowindex=${row + 1} aria-selected=${isSelected(row)}>
            <div id="cell" class="matrix-at no-picture" role="gridcell" aria-colindex=${column + 1}
              aria-label=${say(row, column)} style=${{
                left: `calc(var(--width) * ${column})`, top: `calc(var(--height) * ${row})`,
              }}></div>
          </div>
        </div>
      </div>
      <div class="tip" role="tooltip" ref=${tip} hidden></div>
    </div>`;
}

/**
 * One pixel a cell; transparent where there is no score.
 * @param {HTMLCanvasElement} canvas
 * @param {Numbers} matrix
 * @param {Colours} colours
 * @param {boolean} relative
 */
function paint(canvas, {scores, most, signed}, colours, relative) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.clearRect(0, 0, canvas.width, canvas.height);
  const all = largest(most);
  scores.forEach((line, row) => line.forEach((score, column) => {
    if (score === null) return;
    context.fillStyle = shade(colours, score, relative ? most[row] : all, signed);
    context.fillRect(column, row, 1, 1);
  }));
}

/**
 * Scrolls so that a cell is seen beside the labels that stay.
 * @param {HTMLElement} box
 * @param {HTMLElement} canvas
 * @param {{row: number, column: number}} place
 * @param {{width: number, height: number}} size
 */
function reveal(box, canvas, {row, column}, size) {
  const parent = /** @type {HTMLElement} */ (canvas.parentElement);
  const [before, above] = [parent.offsetLeft, parent.offsetTop];
  const [left, top] = [column * size.width, row * size.height];
  const [wide, high] = [box.clientWidth - before, box.clientHeight - above];
  box.scrollLeft = limit(box.scrollLeft, left + size.width - wide, left);
  box.scrollTop = limit(box.scrollTop, top + size.height - high, top);
}

const limit = (/** @type {number} */ value, /** @type {number} */ least, /** @type {number} */ most) =>
  Math.max(least, Math.min(most, value));

const quoted = (/** @type {string} */ text) => `“${visible(text)}”`;

/**
 * A label; as short as it must be.
 * @param {string} text
 */
function cut(text) {
  const shown = visible(text).replace(/\s+/g, ' ');
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST - 1)}…` : shown;
}

/** @param {HTMLElement | null} tip */
function hide(tip) {
  if (tip) tip.hidden = true;
}
