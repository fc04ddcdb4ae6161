/**
 * What is explained, by which parts, and how: the toolbars above a text.
 * @module
 */

/** @import {Session} from '../core/session.js' */
/** @import {About, Method, Page, Text} from '../core/types.js' */

import {brief} from '../core/words.js';
import {html, useState} from '../vendor/htm_preact.js';
import {Menu} from './menu.js';
import {MethodMenu} from './method_menu.js';
import {OptionsForm} from './options_form.js';
import {UnitBar} from './unit_bar.js';

const SOURCES = {response: 'Answer of the model', target: 'In the data'};

/**
 * @param {object} props
 * @param {About} props.about
 * @param {Page} props.page
 * @param {Method} props.method
 * @param {Session} props.chosen
 * @param {Text | null} props.text
 * @param {{method: string} | null} props.wanted the question that these make; null if it is not complete
 * @param {boolean} props.known whether its answer is
 * @param {(change: Parameters<Session['set']>[0]) => void} props.onChange
 * @param {() => void} props.onRun
 */
export function Controls({about, page, method, chosen, text, wanted, known, onChange, onRun}) {
  const [open, setOpen] = useState(Object.keys(chosen.options).length > 0);
  const set = Object.keys(chosen.options).filter((name) => method.options.includes(name)).length;
  return html`
    <div class="module-toolbar" role="toolbar" aria-label="What is explained, and how">
      ${text && text.sequences.length > 0 && html`<${Sequences} text=${text} chosen=${chosen}
        onChange=${onChange} />`}
      <${MethodMenu} methods=${about.methods} chosen=${method} question=${wanted}
        onChoose=${(/** @type {string} */ name) => onChange({method: name})} />
      <button class="hairline-button" aria-expanded=${open} onClick=${() => setOpen(!open)}>
        <span class="material-icon" aria-hidden="true">tune</span>
        Options${set ? ` (${set})` : ''}</button>
      <button class="hairline-button accent run" disabled=${!wanted || known} onClick=${onRun}>
        Explain</button>
    </div>
    <div class="module-toolbar">
      <${UnitBar} units=${about.units} unit=${chosen.unit} pattern=${chosen.pattern}
        onChange=${onChange} />
    </div>
    ${open && html`<div class="module-toolbar">
      <${OptionsForm} about=${about} method=${method} options=${chosen.options}
        onChange=${(/** @type {Record<string, unknown>} */ options) => onChange({options})} />
    </div>`}`;
}

/**
 * Which text is explained: what the model answers, or what the data has.
 * @param {{text: Text, chosen: Session, onChange: (change: {target: string, span: null}) => void}} props
 */
function Sequences({text, chosen, onChange}) {
  const groups = [...new Set(text.sequences.map(({source}) => source))].map((source) => ({
    title: SOURCES[source],
    items: text.sequences.filter((one) => one.source === source).map((one) => (
      {value: one.text, text: brief(one.text), hint: one.text})),
  }));
  return html`<${Menu} label="Explained text" text=${brief(text.target ?? '')} groups=${groups}
    value=${text.target ?? ''} onChoose=${(/** @type {string} */ target) =>
      target !== (chosen.target ?? text.target) && onChange({target, span: null})} />`;
}
