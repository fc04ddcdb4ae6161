/**
 * A button that opens a list in groups: for methods, texts, downloads.
 * @module
 */

import {html, useEffect, useLayoutEffect, useRef, useState} from '../vendor/htm_preact.js';

const GAP = 8; // pixels, to the window's edges

/**
 * @typedef {object} Item
 * @property {string} value
 * @property {string} text
 * @property {string} [note] behind the text
 * @property {string} [hint] shown while the pointer rests on it
 */

/**
 * @param {object} props
 * @param {string} props.label what is chosen
 * @param {string} props.text on the button
 * @param {{title: string, items: Item[]}[]} props.groups
 * @param {string} [props.value] what is chosen now
 * @param {(value: string) => void} props.onChoose
 * @param {() => void} [props.onOpen]
 * @param {boolean} [props.disabled]
 */
export function Menu({label, text, groups, value, onChoose, onOpen, disabled = false}) {
  const [open, setOpen] = useState(false);
  const root = useRef(/** @type {HTMLElement | null} */ (null));
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const items = () =>
    /** @type {HTMLElement[]} */ ([...(root.current?.querySelectorAll('[data-value]') ?? [])]);

  const close = (/** @type {boolean} */ refocus) => {
    setOpen(false);
    if (refocus) /** @type {HTMLElement} */ (root.current?.firstElementChild).focus();
  };
  const arrange = () => {
    if (root.current && list.current) place(list.current, root.current);
  };
  useLayoutEffect(() => {
    // Above all else: a module that scrolls would cut it off.
    if (open) list.current?.showPopover?.();
  }, [open]);
  useLayoutEffect(arrange);
  useEffect(() => {
    if (!open) return undefined;
    const chosen = items().find((item) => item.dataset.value === value) ?? items()[0];
    chosen?.focus();
    const elsewhere = (/** @type {Event} */ event) => {
      if (!event.composedPath().includes(/** @type {HTMLElement} */ (root.current))) close(false);
    };
    addEventListener('pointerdown', elsewhere, true);
    addEventListener('scroll', arrange, true);
    addEventListener('resize', arrange);
    return () => {
      removeEventListener('pointerdown', elsewhere, true);
      removeEventListener('scroll', arrange, true);
      removeEventListener('resize', arrange);
    };
  }, [open]);

  const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (!open) return;
    const all = items();
    const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
    switch (event.key) {
      case 'ArrowDown': all[Math.min(at + 1, all.length - 1)]?.focus(); break;
      case 'ArrowUp': all[Math.max(at - 1, 0)]?.focus(); break;
      case 'Home': all[0]?.focus(); break;
      case 'End': all.at(-1)?.focus(); break;
      case 'Escape': close(true); break;
      case 'Tab': close(false); return;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const toggle = () => {
    if (!open) onOpen?.();
    setOpen(!open);
  };
  const choose = (/** @type {string} */ chosen) => {
    close(true);
    onChoose(chosen);
  };
  return html`
    <div class="menu" ref=${root} onKeyDown=${onKeyDown}>
      <button class="hairline-button" aria-haspopup="menu" aria-expanded=${open}
        aria-label=${`${label}: ${text}`} disabled=${disabled} onClick=${toggle}>
        <span class="chosen">${text}</span>
        <span class="material-icon" aria-hidden="true">arrow_drop_down</span>
      </button>
      ${open && html`<div class="menu-list" role="menu" aria-label=${label} popover="manual" ref=${list}>
        ${groups.map(({title, items}) => html`<div role="group" aria-label=${title}>
          ${title && html`<div class="menu-title" aria-hidden="true">${title}</div>`}
          ${items.map((item) => html`<button role="menuitemradio" data-value=${item.value}
            aria-checked=${item.value === value} title=${item.hint ?? ''} tabindex="-1"
            onClick=${() => choose(item.value)}>
            <span>${item.text}</span>${item.note && html`<span class="note">${item.note}</span>`}
          </button>`)}
        </div>`)}
      </div>`}
    </div>`;
}

/**
 * Puts a list below its button, or above it where there is more room, inside the window.
 * @param {HTMLElement} list
 * @param {HTMLElement} button
 */
function place(list, button) {
  const {left, top, bottom} = button.getBoundingClientRect();
  const [below, above] = [innerHeight - bottom - GAP, top - GAP];
  const up = list.scrollHeight > below && above > below;
  list.style.maxHeight = `${Math.max(up ? above : below, 0)}px`;
  list.style.left = `${Math.max(GAP, Math.min(left, innerWidth - list.offsetWidth - GAP))}px`;
  list.style.top = `${up ? top - list.offsetHeight : bottom}px`;
}
