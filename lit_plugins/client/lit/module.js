/**
 * What makes a module of LIT's page out of a component of ours.
 * @module
 */

/** @import {Page} from '../core/types.js' */
/** @import {LitModule} from './lit.js' */

import {sides} from '../core/sides.js';
import {html, render} from '../vendor/htm_preact.js';
import {lit} from './names.js';
import {sheet} from './styles.js';

/**
 * @param {object} options
 * @param {string} options.element its name, which layouts use
 * @param {string} options.title
 * @param {string} options.info in Markdown, behind the question mark
 * @param {boolean} options.duplicate whether there is one for each model, and for a pinned example
 * @param {(page: Page) => unknown} options.View
 */
export function defineModule({element, title, info, duplicate, View}) {
  const found = take();
  if (found instanceof Error) {
    const note = `${title} needs LIT 1.3.1's client, and this one differs: ${found.message} ` +
        'Choose one of LIT\'s own layouts under Configure.';
    dispatchEvent(new CustomEvent('lit-plugins-missing', {detail: {element, title, note}}));
    return;
  }
  const {LitModule, styles, selection} = found;
  class Module extends LitModule {
    static title = title;
    static infoMarkdown = info;
    static numCols = 6;
    static duplicateForExampleComparison = duplicate;
    static duplicateForModelComparison = duplicate;
    static duplicateAsRow = true;
    static template = template(element);
    static get styles() {
      return [styles, sheet];
    }
    static shouldDisplayModule() {
      return true;
    }

    #host = document.createElement('div');

    /** What the page shows: what is read here is observed by MobX. */
    #page() {
      const {appState} = this;
      const side = this.selectionServiceIndex ?? 0;
      /** @type {Page} */
      const page = {
        model: this.model || appState.currentModels[0],
        models: [...appState.currentModels],
        dataset: appState.currentDataset,
        side,
        example: selection(this, side).primarySelectedInputData,
        pinned: appState.compareExamplesEnabled ? selection(this, 1).primarySelectedInputData : null,
        examples: appState.currentInputData,
        inputs: Object.fromEntries(appState.currentModels.map(
            (model) => [model, Object.keys(appState.getModelSpec(model).input)])),
      };
      // LIT draws a tab's modules when it is opened first: those seen before say what was selected.
      if (side === 0) sides.saw(page.example);
      return page;
    }

    renderImpl() {
      this.#host.className = 'module-container lit-plugins';
      render(html`<${View} ...${this.#page()} />`, this.#host);
      return this.#host;
    }

    disconnectedCallback() {
      super.disconnectedCallback();
      render(null, this.#host);
    }

    connectedCallback() {
      super.connectedCallback();
      this.requestUpdate();
    }
  }
  customElements.define(element, Module);
}

/** @returns {ReturnType<typeof lit> | Error} */
function take() {
  try {
    return lit();
  } catch (error) {
    return /** @type {Error} */ (error);
  }
}

/**
 * What makes lit-html draw an element, as its `html` would of a template literal.
 * @param {string} element
 */
function template(element) {
  const strings = Object.assign(
      [`<${element} model=`, ' .shouldReact=', ' selectionServiceIndex=', `></${element}>`],
      {raw: []});
  return (/** @type {string} */ model, /** @type {number} */ side, /** @type {number} */ shouldReact) =>
    ({['_$litType$']: 1, strings, values: [model, shouldReact, side]});
}
