/**
 * One side of a comparison: what it is, and what the model answers there.
 * @module
 */

/** @import {Answer} from '../core/answers.js' */
/** @import {Run} from '../core/diff.js' */
/** @import {Own, Explained, Side} from '../core/sides.js' */
/** @import {Scale} from './aligned_table.js' */
/** @import {About, Explanation, Page, Piece, Span, Text} from '../core/types.js' */

import {divided} from '../core/diff.js';
import {SAME} from '../core/sides.js';
import {html} from '../vendor/htm_preact.js';
import {Choices} from './choices.js';
import {ColouredText} from './coloured_text.js';
import {ExampleMenu} from './example_menu.js';
import {Heading} from './heading.js';
import {Menu} from './menu.js';
import {MethodMenu} from './method_menu.js';
import {OptionsForm} from './options_form.js';
import {Progress} from './progress.js';

const SOURCES = {response: 'Answer of the model', target: 'In the data'};

/**
 * @param {object} props
 * @param {'A' | 'B'} props.name
 * @param {About} props.about
 * @param {Page} props.page
 * @param {Side} props.side
 * @param {Own} props.own what a user has chosen for it
 * @param {boolean} props.apart whether it has a method of its own
 * @param {Text | null} props.text
 * @param {Answer | undefined} props.reading
 * @param {Answer | undefined} props.answer
 * @param {{method: string} | null} props.wanted
 * @param {Explanation | null} props.explanation
 * @param {Piece[]} props.pieces
 * @param {Run[] | null} props.runs of the answer, if there are two
 * @param {Scale} props.scale
 * @param {(change: Partial<Own>) => void} props.onSide
 * @param {(change: Explained) => void} props.onExplained
 * @param {(method: string) => void} props.onMethod
 * @param {(options: Record<string, unknown>) => void} props.onOptions
 * @param {() => void} props.onReadAgain
 * @param {() => void} props.onCancel
 * @param {() => void} props.onAgain
 */
export function SidePanel(props) {
  const {name, about, page, side, own, text, explanation, scale} = props;
  const models = page.models.filter((model) => model in about.models);
  const roles = side.role === 1 ? [{value: 'follow', text: 'Selected example'}] : [
    {value: 'follow', text: 'Pinned, or original of the selected, or selected before'},
    {value: SAME, text: 'Same as the other side'},
  ];
  const sources = (text?.sequences ?? []).map(({source, text}) => (
    {value: text, text: SOURCES[source], hint: text}));
  return html`
    <section class="side" aria-label=${`Side ${name}`}>
      <div class="side-bar no-picture" role="toolbar" aria-label=${`What ${name} is`}>
        <b class="badge">${name}</b>
        <${ExampleMenu} label=${`Example ${name}`} examples=${page.examples}
          fields=${page.inputs[side.model] ?? []} roles=${roles} example=${side.example}
          chosen=${own.example} onChoose=${(/** @type {string | null} */ example) => props.onSide({example})} />
        ${models.length > 1 && html`<${Menu} label=${`Model ${name}`} text=${side.model}
          groups=${[{title: '', items: models.map((value) => ({value, text: value}))}]} value=${side.model}
          onChoose=${(/** @type {string} */ model) => props.onSide({model})} />`}
        ${sources.length > 1 && html`<${Menu} label=${`Explained text ${name}`}
          text=${sources.find(({value}) => value === text?.target)?.text ?? ''}
          groups=${[{title: '', items: sources}]} value=${text?.target ?? ''}
          onChoose=${(/** @type {string} */ target) => props.onExplained({target, span: null})} />`}
        ${props.apart && html`<${MethodMenu} methods=${about.methods} chosen=${side.method}
          question=${props.wanted} onChoose=${props.onMethod} />`}
      </div>
      ${props.apart && html`<div class="no-picture"><${OptionsForm} about=${about} method=${side.method}
        options=${side.chosen.options} onChange=${props.onOptions} /></div>`}
      <${Progress} what="The model reads and answers" answer=${props.reading} onAgain=${props.onReadAgain} />
      ${text && text.choices.length > 0 && html`<${Choices} choices=${text.choices}
        chosen=${side.chosen.choice}
        onChoose=${(/** @type {Explained['choice']} */ choice) => props.onExplained({choice: choice ?? null})} />`}
      ${text?.target != null && html`<${ColouredText} pieces=${answered(props, text)}
        colours=${about.colours} most=${scale.most} signed=${scale.signed} units=${scale.units}
        label=${`Answer ${name}`} busy=${props.answer?.state === 'running'} selected=${side.chosen.span}
        selectable=${() => true} onSelect=${(/** @type {Span | null} */ span) => props.onExplained({span})} />`}
      <${Progress} what=${`Computing ${side.method.title} for ${name}`} answer=${props.answer}
        onCancel=${props.onCancel} onAgain=${props.onAgain} />
      ${explanation && html`<${Heading} parts=${[explanation.card.heading, ...explanation.card.about]} />`}
    </section>`;
}

/**
 * The answer's parts, with what the other one does not have.
 * @param {{name: 'A' | 'B', pieces: Piece[], runs: Run[] | null}} props
 * @param {Text} text
 * @returns {Piece[]}
 */
function answered({name, pieces, runs}, text) {
  const own = pieces.filter(({start}) => start >= (text.target_start ?? Infinity));
  if (runs === null) return own;
  const inParts = divided(runs, own.map(({text}) => text));
  return own.map((piece, at) => (
    {...piece, differs: {runs: inParts[at], mark: name === 'A' ? 'del' : 'ins'}}));
}
