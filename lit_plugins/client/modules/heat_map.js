/**
 * What drove each part of the model's answer: a matrix of all of them, by one method's scores.
 * @module
 */

/** @import {Matrix as Numbers} from '../core/matrix.js' */
/** @import {About, Explanation, Method, Page, Text} from '../core/types.js' */

import {explanations, texts} from '../core/answers.js';
import {useAbout, useAnswer, useSeries} from '../core/asking.js';
import {useCost} from '../core/costs.js';
import {csv, json} from '../core/files.js';
import * as matrices from '../core/matrix.js';
import {useObservables} from '../core/observable.js';
import {largest} from '../core/segments.js';
import {question, session, textQuestion} from '../core/session.js';
import {brief, duration} from '../core/words.js';
import {defineModule} from '../lit/module.js';
import {Card} from '../parts/card.js';
import {Controls} from '../parts/controls.js';
import {Downloads} from '../parts/downloads.js';
import {Heading} from '../parts/heading.js';
import {Legend} from '../parts/legend.js';
import {Matrix} from '../parts/matrix.js';
import {Progress} from '../parts/progress.js';
import {html, useMemo, useRef, useState} from '../vendor/htm_preact.js';

const INFO = `What drove each part of the model's answer: a row for each of them, a column for each part
of the text. It costs more than one part, and is computed by the button alone. A row that is clicked is
selected in the Salience module. Hatched cells have no score: nothing is driven by itself or by what
comes later. Sizes: + and −, 0 for all of it, or Ctrl and the wheel.`;

/** @param {Page} page */
function HeatMap(page) {
  const {about, error} = useAbout(page.model);
  if (error) return html`<p class="state error" role="alert">${error}</p>`;
  if (!about) return html`<p class="hint">Loading …</p>`;
  if (!(page.model in about.models)) {
    return html`<p class="hint">The model ${page.model} cannot be explained here.</p>`;
  }
  if (page.example === null) {
    return html`<p class="hint">Select an example in the data table, or enter one in the editor.</p>`;
  }
  return html`<${Shown} about=${about} page=${page} example=${page.example} />`;
}

/** @param {{about: About, page: Page, example: NonNullable<Page['example']>}} props */
function Shown({about, page, example}) {
  const chosen = session(`${page.model}/${page.side}`);
  chosen.show(`${page.dataset}/${example.id}`);
  useObservables(chosen);
  const [byToken, setByToken] = useState(false);
  const [relative, setRelative] = useState(false);
  const where = {...page, example};
  const {task} = about.models[page.model];
  const asked = textQuestion(where, chosen);
  const reading = useAnswer(texts, asked, true);
  /** @type {Text | null} */
  const text = reading?.state === 'done' ? reading.result : null;
  const method = about.methods.find(({name}) => name === chosen.methodFor(task)) ?? about.methods[0];
  const wanted = text ? matrices.questions(where, chosen, text, method, task, byToken) : [];
  const {key, answer, ask, cancel} = useSeries(explanations, wanted);
  /** @type {Explanation[] | null} */
  const found = answer?.state === 'done' ? answer.result : null;
  const matrix = useMemo(
      () => text && found && matrices.matrix(text, chosen.unit, method, task, found),
      [key, text, found === null, chosen.unit]);
  const seen = useRef(/** @type {HTMLElement | null} */ (null));

  const isSelected = (/** @type {number} */ number) => {
    const {span, choice} = /** @type {Numbers} */ (matrix).rows[number];
    if (span) return chosen.span !== null && span[0] >= chosen.span[0] && span[1] <= chosen.span[1];
    return chosen.choice !== null && chosen.choice.label === choice?.label &&
        chosen.choice.span === choice?.span;
  };
  const select = (/** @type {number | null} */ number) => {
    if (!text || !matrix) return;
    const {span = null, choice = null} = number === null ? {} : matrix.rows[number];
    chosen.set({span, choice: choice && {label: choice.label, span: choice.span}});
    const one = question(where, chosen, text, method, span && [span]);
    if (one) explanations.ask(one);
  };
  const rows = text?.target === null ? text.choices.map(({name}) => name).join(' · ') : text?.target ?? '';
  const each = text?.target === null ? 'each of' : 'each part of';
  const heading = [`What drove ${each} “${brief(rows)}”`, method.title];
  const foil = method.options.includes('foil') && chosen.options.foil;
  const choices = html`
    ${text && text.target !== null && chosen.unit !== 'token' && html`<label>
      <input type="checkbox" checked=${byToken} onChange=${() => setByToken(!byToken)} />
      A row for each token</label>`}
    <label><input type="checkbox" checked=${relative} onChange=${() => setRelative(!relative)} />
      Each row to its own largest</label>`;
  const units = relative ? 'of the largest of each row' : matrix?.units ?? '';

  return html`
    <${Controls} about=${about} page=${page} method=${method} chosen=${chosen} text=${text}
      known=${found !== null || answer?.state === 'running'} wanted=${wanted[0] ?? null}
      onChange=${chosen.set.bind(chosen)} onRun=${ask} />
    <div class="module-results-area heat-map" tabindex="-1">
      <${Progress} what="The model reads and answers" answer=${reading}
        onAgain=${() => texts.ask(asked)} />
      ${foil && html`<p class="hint">Without “rather than ${foil}”: that is for one target. For a
        contrast in each row, choose “rather than the runner-up”.</p>`}
      ${text && !matrix && html`<div class="matrix-tools">${choices}</div>`}
      <${Progress} what=${`Computing ${method.title}`} answer=${answer} onCancel=${cancel}
        onAgain=${ask} />
      ${text && !answer && html`<${Offer} questions=${wanted} />`}
      ${matrix && matrix.columns.length === 0 && html`<p class="hint">No part has a score.</p>`}
      ${matrix && matrix.columns.length > 0 && html`
        <div class="seen" ref=${seen}>
          <${Heading} parts=${heading} />
          <${Legend} colours=${about.colours} most=${relative ? 1 : largest(matrix.most)}
            signed=${matrix.signed} units=${units} />
          <${Matrix} matrix=${matrix} colours=${about.colours} relative=${relative}
            isSelected=${isSelected} onSelect=${select}
            label="Rows: what is explained. Columns: what drove it.">${choices}<//>
        </div>`}
    </div>
    ${found && html`<${Card} explanation=${together(found)} />`}
    <div class="module-footer">
      <${Downloads} name=${fileName(page, method)} seen=${() => whole(seen.current)}
        disabled=${!matrix}
        content=${() => ({
          text: matrix ? matrices.plain([heading.join(' · ')], matrix) : '',
          json: (found ?? []).map(json).join(''),
          csv: matrix ? csv(matrices.table(matrix)) : '',
        })} />
    </div>`;
}

/**
 * What the computation would cost.
 * @param {{questions: import('../core/matrix.js').Question[]}} props
 */
function Offer({questions}) {
  const cost = useCost(questions[0] ?? null);
  if (!questions.length) return html`<p class="hint">There is nothing to explain.</p>`;
  if (!cost) return html`<p class="hint">“Explain” computes the whole matrix.</p>`;
  const [forward, backward, seconds] = [cost.forward, cost.backward, cost.seconds ?? 0]
      .map((one) => one * questions.length);
  return html`<p class="hint">“Explain” computes the whole matrix: ${forward} forward and
    ${' '}${backward} backward passes${cost.seconds === null ? '' : `, about ${duration(seconds)}`}.</p>`;
}

/**
 * What is true of all of them, as of one.
 * @param {Explanation[]} found
 * @returns {Explanation}
 */
function together(found) {
  const [first] = found;
  const total = (/** @type {'forward' | 'backward' | 'seconds'} */ name) =>
    found.reduce((sum, one) => sum + one[name], 0);
  const errors = found.map((one) => one.convergence_error).filter((error) => error !== null);
  const facts = first.card.facts.filter(([term, value]) => found.every(({card}) => card.facts.some(
      ([other, text]) => other === term && text === value)));
  const warnings = [...new Set(found.flatMap(({card}) => card.warnings))];
  return {
    ...first, forward: total('forward'), backward: total('backward'), seconds: total('seconds'),
    convergence_error: errors.length ? Math.max(...errors) : null, card: {...first.card, facts, warnings},
  };
}

/**
 * Unrolls what is scrolled, until a picture was drawn of it.
 * @param {HTMLElement | null} seen
 */
function whole(seen) {
  const box = /** @type {HTMLElement | null} */ (seen?.querySelector('.matrix') ?? null);
  if (!seen || !box) return seen;
  const {scrollLeft, scrollTop} = box;
  box.classList.add('whole');
  queueMicrotask(() => {
    box.classList.remove('whole');
    box.scrollTo(scrollLeft, scrollTop);
  });
  return seen;
}

/**
 * @param {Page} page
 * @param {Method} method
 */
const fileName = ({model, example}, {name}) =>
  `${model}-${name}-matrix-${(example?.id ?? '').slice(0, 8)}`.replace(/[^\w.-]+/g, '_');

defineModule({
  element: 'salience-heat-map-module',
  title: 'Heat map',
  info: INFO,
  duplicate: true,
  View: HeatMap,
});
