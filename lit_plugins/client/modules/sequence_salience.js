/**
 * What drove a part of the model's answer: the text coloured by one method's scores.
 * @module
 */

/** @import {About, Explanation, Page, Span, Text} from '../core/types.js' */

import {explanations, texts} from '../core/answers.js';
import {useAbout, useAnswer} from '../core/asking.js';
import {csv, json, pieceRows, pieceText} from '../core/files.js';
import {useObservables} from '../core/observable.js';
import {largest, pieces} from '../core/segments.js';
import {question, session, textQuestion} from '../core/session.js';
import {defineModule} from '../lit/module.js';
import {Card} from '../parts/card.js';
import {Choices} from '../parts/choices.js';
import {ColouredText} from '../parts/coloured_text.js';
import {Controls} from '../parts/controls.js';
import {Downloads} from '../parts/downloads.js';
import {Heading} from '../parts/heading.js';
import {Legend} from '../parts/legend.js';
import {Progress} from '../parts/progress.js';
import {html, useMemo, useRef} from '../vendor/htm_preact.js';

const INFO = `What drove a part of the model's answer. Choose a part of the answer: what comes before
it is coloured by the method's scores. Blue speaks for the answer, orange against it; methods without a
sign are violet. Colours are relative to the largest score that is shown.`;

/** @param {Page} page */
function SequenceSalience(page) {
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
  const where = {...page, example};
  const asked = textQuestion(where, chosen);
  const reading = useAnswer(texts, asked, true);
  /** @type {Text | null} */
  const text = reading?.state === 'done' ? reading.result : null;
  const method = about.methods.find(({name}) => name === chosen.methodFor(about.models[page.model].task))
      ?? about.methods[0];
  const spans = chosen.span === null ? null : [chosen.span];
  const wanted = text && question(where, chosen, text, method, spans);
  const answer = useAnswer(explanations, wanted, false);
  /** @type {Explanation | null} */
  const explanation = answer?.state === 'done' ? answer.result[0] : null;
  const seen = useRef(/** @type {HTMLElement | null} */ (null));

  const change = (/** @type {Parameters<typeof chosen.set>[0]} */ some) => {
    explanations.cancel(wanted);
    chosen.set(some);
    const next = text && about.methods.find(({name}) => name === (some.method ?? method.name));
    const then = next && question(where, chosen, text, next, chosen.span === null ? null : [chosen.span]);
    // Other options are tried when they are complete: by the button.
    if (then && !('options' in some)) explanations.ask(then);
  };
  const shown = useMemo(
      () => text && pieces(text, chosen.unit, spans ?? places(explanation), explanation, method),
      [text, chosen.unit, chosen.span, explanation, method]);
  // What is explained has no colour of its own.
  const most = largest(shown?.map(({score, target}) => (target ? null : score)) ?? []);
  const units = explanation?.units ?? '';
  const heading = explanation ? [explanation.card.heading, ...explanation.card.about] : [];

  return html`
    <${Controls} about=${about} page=${page} method=${method} chosen=${chosen} text=${text}
      known=${explanation !== null} wanted=${wanted} onChange=${change}
      onRun=${() => wanted && explanations.ask(wanted)} />
    <div class="module-results-area" tabindex="-1">
      <${Progress} what="The model reads and answers" answer=${reading}
        onAgain=${() => texts.ask(asked)} />
      <${Progress} what=${`Computing ${method.title}`} answer=${answer}
        onCancel=${() => explanations.cancel(wanted)}
        onAgain=${() => wanted && explanations.ask(wanted)} />
      <div class="seen" ref=${seen}>
        ${text && text.choices.length > 0 && html`<${Choices} choices=${text.choices}
          chosen=${chosen.choice} onChoose=${(/** @type {any} */ choice) => change({choice})} />`}
        ${explanation && html`<${Heading} parts=${heading} role="status" />`}
        ${text && shown && html`<${ColouredText} key=${chosen.unit} pieces=${shown}
          colours=${about.colours} most=${most}
          signed=${method.signed} units=${units} label="Prompt and answer"
          busy=${answer?.state === 'running'} selected=${chosen.span}
          selectable=${(/** @type {{start: number}} */ {start}) =>
            text.target_start !== null && start >= text.target_start}
          onSelect=${(/** @type {Span | null} */ span) => change({span})} />`}
        ${explanation && html`<${Legend} colours=${about.colours} most=${most}
          signed=${method.signed} units=${units} />`}
      </div>
      ${text && !wanted && html`<p class="hint">${text.target === null ?
        'Choose what is to be explained.' :
        'Choose a part of the answer (Shift extends it) to see what drove it.'}</p>`}
    </div>
    ${explanation && html`<${Card} explanation=${explanation} />`}
    <div class="module-footer">
      <${Downloads} name=${fileName(page, method.name)} seen=${() => seen.current}
        disabled=${explanation === null}
        content=${() => ({
          text: pieceText(heading, shown ?? [], units),
          json: explanation ? json(explanation) : '',
          csv: csv(pieceRows(shown ?? [], units)),
        })} />
    </div>`;
}

/**
 * Where tokens are explained that nobody chose: those of a tagged word.
 * @param {Explanation | null} explanation
 * @returns {Span[]}
 */
const places = (explanation) => (explanation?.places ?? []).map((place) => [place, place + 1]);

/**
 * @param {Page} page
 * @param {string} method
 */
const fileName = ({model, example}, method) =>
  `${model}-${method}-${(example?.id ?? '').slice(0, 8)}`.replace(/[^\w.-]+/g, '_');

defineModule({
  element: 'signed-sequence-salience-module',
  title: 'Salience',
  info: INFO,
  duplicate: true,
  View: SequenceSalience,
});
