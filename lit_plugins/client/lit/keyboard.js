/**
 * Tabs and rows of LIT's tables by keyboard: in LIT 1.3.1 only a pointer reaches them. Tab leads to
 * them, Enter or space is a click, arrows lead on among rows and tabs. Private names of LIT's:
 * without them, the page stays as LIT draws it.
 */

/** What is reached, by the element that draws it, and how it is read aloud. */
const REACHED = [
  {element: 'lit-modules', selector: '.tabs-container > .tab', role: 'tab', selected: 'selected'},
  {element: 'lit-data-table', selector: 'tbody > tr:has(.cell-holder, lit-table-text-cell)', role: 'row', selected: 'selected'},
];
const STEPS = new Map([['ArrowDown', 1], ['ArrowRight', 1], ['ArrowUp', -1], ['ArrowLeft', -1]]);

for (const {element, selector, role, selected} of REACHED) {
  const prototype = /** @type {any} */ (customElements.get(element))?.prototype;
  if (prototype === undefined) {
    console.warn(`lit_plugins: this LIT has no ${element}; it stays out of the keyboard's reach.`);
    continue;
  }
  const updated = prototype.updated;
  prototype.updated = function(/** @type {unknown} */ changed) {
    updated?.call(this, changed);
    for (const one of this.shadowRoot.querySelectorAll(selector)) {
      one.tabIndex = 0;
      one.setAttribute('role', role);
      one.setAttribute('aria-selected', String(one.classList.contains(selected)));
      one.onkeydown = onKeyDown;
    }
  };
}

/**
 * @this {HTMLElement}
 * @param {KeyboardEvent} event
 */
function onKeyDown(event) {
  if (event.target !== this) return;
  const step = STEPS.get(event.key);
  if (event.key === 'Enter' || event.key === ' ') {
    this.click();
  } else if (step !== undefined) {
    const next = step > 0 ? this.nextElementSibling : this.previousElementSibling;
    if (!(next instanceof HTMLElement) || next.tabIndex < 0) return;
    next.focus();
  } else {
    return;
  }
  event.preventDefault();
}
