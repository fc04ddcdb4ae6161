/**
 * A note in the place of each of our modules that is not there: without, LIT's page would be empty.
 * A classic script in the page's head: it is there where modules fail, and hears of `load`, at which
 * LIT starts, before LIT does.
 */

(() => {
  const elements = document.currentScript?.dataset.elements?.split(' ') ?? [];

  // What `lit/module.js` could not define.
  addEventListener('lit-plugins-missing', (event) => {
    const {element, title, note} = /** @type {CustomEvent} */ (event).detail;
    define(element, title, note);
  });

  addEventListener('load', () => {
    for (const element of elements.filter((element) => !customElements.get(element))) {
      define(element, 'Explanations', 'The scripts of lit_plugins have not come, or this browser ' +
          'cannot read them. Reload the page, or choose one of LIT\'s own layouts under Configure.');
    }
  });

  /**
   * @param {string} element
   * @param {string} title
   * @param {string} note
   */
  function define(element, title, note) {
    console.warn(`lit_plugins: ${note}`);
    // What makes lit-html draw it.
    const strings = Object.assign([`<${element}></${element}>`], {raw: []});
    customElements.define(element, class extends HTMLElement {
      static title = title;
      static numCols = 4;
      static template = () => ({['_$litType$']: 1, strings, values: []});
      static shouldDisplayModule() {
        return true;
      }

      constructor() {
        super();
        this.attachShadow({mode: 'open'}).textContent = note; // LIT looks into it
      }
    });
  }
})();
