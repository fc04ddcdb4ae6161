/**
 * The options of a method: the contrast first, then what it alone takes.
 * @module
 */

/** @import {About, Method, OptionField} from '../core/types.js' */

import {html} from '../vendor/htm_preact.js';

/** Those that are seen at once; the others are behind "More". */
const FIRST = ['foil', 'baseline', 'steps', 'samples'];
/** @type {Record<string, string>} */
const TITLES = {foil: 'rather than', runner_up: 'rather than the runner-up'};

/**
 * @param {object} props
 * @param {About} props.about
 * @param {Method} props.method
 * @param {Record<string, unknown>} props.options those that differ from their defaults
 * @param {(options: Record<string, unknown>) => void} props.onChange
 */
export function OptionsForm({about, method, options, onChange}) {
  const known = method.options.filter((name) => name in about.options);
  const change = (/** @type {string} */ name, /** @type {unknown} */ value) => {
    const {[name]: _, ...others} = options;
    onChange(value === '' || value === false ? others : {...others, [name]: value});
  };
  const field = (/** @type {string} */ name) => html`<${Field} key=${name} name=${name}
    field=${about.options[name]} method=${method} value=${options[name] ?? ''}
    onChange=${(/** @type {unknown} */ value) => change(name, value)} />`;
  const more = known.filter((name) => !FIRST.includes(name));
  return html`
    <form class="options" aria-label="Options" onKeyDown=${onKeyDown}
      onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      ${FIRST.filter((name) => known.includes(name)).map(field)}
      ${more.length > 0 && html`<details open=${more.some((name) => name in options)}>
        <summary>More</summary><div class="fields">${more.map(field)}</div></details>`}
    </form>`;
}

/**
 * Enter is the button of the module that explains, once what was typed counts.
 * @param {KeyboardEvent} event
 */
function onKeyDown(event) {
  const input = /** @type {HTMLElement} */ (event.target);
  if (event.key !== 'Enter' || input.localName !== 'input') return;
  event.preventDefault();
  input.dispatchEvent(new Event('change', {bubbles: true}));
  const run = () => /** @type {HTMLElement | null | undefined} */ (
    input.closest('.lit-plugins')?.querySelector('button.run:not(:disabled)'));
  setTimeout(() => run()?.click());
}

/**
 * @param {object} props
 * @param {string} props.name
 * @param {OptionField} props.field
 * @param {Method} props.method
 * @param {unknown} props.value
 * @param {(value: unknown) => void} props.onChange
 */
function Field({name, field, method, value, onChange}) {
  const standard = field.default_by_method?.[method.name];
  const shown = standard === undefined || standard === null ? '' : String(standard);
  const typed = (/** @type {Event} */ event) => {
    const text = /** @type {HTMLInputElement} */ (event.target).value.trim();
    const number = Number(text);
    const numeric = field.kind === 'number' || field.kind === 'steps';
    onChange(numeric && text !== '' && Number.isFinite(number) ? number : text);
  };
  const title = TITLES[name] ?? name.replaceAll('_', ' ');
  const control = {
    choice: () => html`<select value=${value} onChange=${typed}>
        <option value="">${shown || 'default'}</option>
        ${(field.choices ?? []).filter((one) => one !== shown).map((one) => html`
          <option value=${one} selected=${one === value}>${one}</option>`)}
      </select>`,
    flag: () => html`<input type="checkbox" checked=${Boolean(value)}
      onChange=${(/** @type {Event} */ event) => onChange(/** @type {HTMLInputElement} */ (event.target).checked)} />`,
    text: () => html`<input type="text" value=${value} placeholder=${name === 'foil' ? 'another text' : shown} onChange=${typed} />`,
    number: () => html`<input type="text" inputmode="decimal" size="6" value=${value} placeholder=${shown} onChange=${typed} />`,
    steps: () => html`<input type="text" size="6" value=${value} placeholder=${shown} onChange=${typed} />`,
  }[field.kind];
  return html`<label title=${field.help}><span>${title}</span>${control()}</label>`;
}
