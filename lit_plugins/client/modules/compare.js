/**
 * Two prompts, two models or two methods side by side: what changed in the answer, and in what
 * drove it.
 * @module
 */

/** @import {Answer} from '../core/answers.js' */
/** @import {Half} from '../core/aligned.js' */
/** @import {Side} from '../core/sides.js' */
/** @import {About, Explanation, Page, Span, Text, Unit} from '../core/types.js' */

import {comparison, inLines, rows, tableOf} from '../core/aligned.js';
import {explanations, keyOf, texts} from '../core/answers.js';
import {useAbout, useAnswer} from '../core/asking.js';
import {words} from '../core/diff.js';
import {csv, json} from '../core/files.js';
import {useObservables} from '../core/observable.js';
import {largest, pieces} from '../core/segments.js';
import {question, session, textQuestion} from '../core/session.js';
import {sides} from '../core/sides.js';
import {defineModule} from '../lit/module.js';
import {AlignedTable} from '../parts/aligned_table.js';
import {Card} from '../parts/card.js';
import {Downloads} from '../parts/downloads.js';
import {Legend} from '../parts/legend.js';
import {MethodMenu} from '../parts/method_menu.js';
import {OptionsForm} from '../parts/options_form.js';
import {SidePanel} from '../parts/side.js';
import {UnitBar} from '../parts/unit_bar.js';
import {html, useEffect, useMemo, useRef, useState} from '../vendor/htm_preact.js';

const INFO = `Two examples, models or methods side by side. A is the pinned example, or the one that
the selected example was made of in the editor, or the one selected before; B is the selected one. What
only one answer or prompt has is struck through (A) or underlined (B). B − A shows where the scores
differ: blue where they are higher in B, orange where they are lower.`;

/** @type {Record<Unit, string>} */
const NOUNS = {
  token: 'lines', word: 'lines', regex: 'lines', sentence: 'sentences', line: 'lines',
  paragraph: 'paragraphs', example: 'examples',
};
/** @type {['A', 'B']} */
const NAMES = ['A', 'B'];
/** @type {[string, string]} */
const ENDS = ['lower in B', 'higher in B'];

/** @param {Page} page */
function Compare(page) {
  const {about, error} = useAbout(page.model);
  if (error) return html`<p class="state error" role="alert">${error}</p>`;
  if (!about) return html`<p class="hint">Loading …</p>`;
  if (!page.models.some((model) => model in about.models)) {
    return html`<p class="hint">None of these models can be explained here.</p>`;
  }
  return html`<${Both} about=${about} page=${page} />`;
}

/** @param {{about: About, page: Page}} props */
function Both({about, page}) {
  const shared = session(`${page.model}/${page.side}`);
  useObservables(shared, sides);
  const [open, setOpen] = useState(false);
  const seen = useRef(/** @type {HTMLElement | null} */ (null));
  const both = sides.of(page, about, shared);
  const asked = both.map(({model, dataset, example, chosen}) =>
    example && textQuestion({model, dataset, example}, chosen));
  const readings = [useAnswer(texts, asked[0], true), useAnswer(texts, asked[1], true)];
  const read = readings.map((reading) =>
    /** @type {Text | null} */ (reading?.state === 'done' ? reading.result : null));
  both.forEach((side, at) => {
    side.chosen.choice ??= predicted(read[at]);
  });
  const wanted = both.map((side, at) => wants(side, read[at]));
  const answers = [useAnswer(explanations, wanted[0], false), useAnswer(explanations, wanted[1], false)];
  useGivenUp(wanted[0]);
  useGivenUp(wanted[1]);

  const halves = useMemo(() => both.map((side, at) => half(side, read[at], answers[at])),
      [shared.unit, ...read, ...answers.map((answer) => answer?.result), ...wanted.map((one) => one && keyOf(one))]);
  const [a, b] = halves;
  const compared = a && b && comparison(a, b);
  const aligned = useMemo(() => (a && b ? rows(a, b, shared.unit) : []), [a, b, shared.unit]);
  const marks = useMemo(() => (a?.text.target != null && b?.text.target != null ?
    words(a.text.target, b.text.target) : null), [a?.text, b?.text]);
  const most = largest(aligned.flatMap(({cells}) => cells.map(({difference}) => difference)));
  const own = halves.map((half) => largest(half?.pieces.map(({score}) => score) ?? []));
  const common = compared && !compared.shares ? Math.max(...own) : null;
  const scales = both.map(({method}, at) => (
    {most: common ?? own[at], signed: method.signed, units: halves[at]?.explanation?.units ?? ''}));
  const paired = aligned.some(({cells}) => cells.some(({difference}) => difference !== null));
  const same = both[0].example !== null && keyOf([asked[0], wanted[0]]) === keyOf([asked[1], wanted[1]]);

  const missing = wanted.filter((one, at) => one && !['done', 'running'].includes(answers[at]?.state ?? ''));
  const setMethod = (/** @type {Side} */ {role}, /** @type {string} */ method) => sides.own[role].method === null ?
    shared.set({method}) : sides.set(role, {method});
  const setOptions = (/** @type {Side} */ {role}, /** @type {Record<string, unknown>} */ options) =>
    sides.own[role].method === null ? shared.set({options}) : sides.set(role, {options});
  const separate = () => {
    const {role, method} = both[1];
    if (sides.apart) ([0, 1]).forEach((one) => sides.set(one ? 1 : 0, {method: null, options: {}}));
    else sides.set(role, {method: method.name, options: shared.options});
  };
  const panel = (/** @type {0 | 1} */ at) => html`<${SidePanel} key=${NAMES[at]} name=${NAMES[at]}
    about=${about} page=${page} side=${both[at]} own=${sides.own[both[at].role]} apart=${sides.apart}
    text=${read[at]} reading=${readings[at]} answer=${answers[at]} wanted=${wanted[at]}
    explanation=${halves[at]?.explanation ?? null} pieces=${halves[at]?.pieces ?? []}
    runs=${marks && marks[at ? 'b' : 'a']} scale=${scales[at]}
    onSide=${(/** @type {any} */ change) => sides.set(both[at].role, change)}
    onExplained=${(/** @type {any} */ change) => sides.explain(both[at], change)}
    onMethod=${(/** @type {string} */ method) => setMethod(both[at], method)}
    onOptions=${(/** @type {any} */ options) => setOptions(both[at], options)}
    onReadAgain=${() => asked[at] && texts.ask(asked[at])}
    onCancel=${() => explanations.cancel(wanted[at])}
    onAgain=${() => wanted[at] && explanations.ask(wanted[at])} />`;

  return html`
    <div class="module-toolbar" role="toolbar" aria-label="How both are explained">
      ${!sides.apart && html`<${MethodMenu} methods=${about.methods} chosen=${both[1].method}
          question=${wanted[1]} onChoose=${(/** @type {string} */ name) => setMethod(both[1], name)} />
        <button class="hairline-button" aria-expanded=${open} onClick=${() => setOpen(!open)}>
          <span class="material-icon" aria-hidden="true">tune</span>Options</button>`}
      <button class="hairline-button" aria-pressed=${sides.apart} onClick=${separate}>
        Another method for B</button>
      <button class="hairline-button" onClick=${() => sides.swap()}>
        <span class="material-icon" aria-hidden="true">swap_horiz</span>Swap</button>
      <button class="hairline-button accent run" disabled=${missing.length === 0}
        onClick=${() => missing.forEach((one) => one && explanations.ask(one))}>Explain both</button>
    </div>
    ${open && !sides.apart && html`<div class="module-toolbar">
      <${OptionsForm} about=${about} method=${both[1].method} options=${shared.options}
        onChange=${(/** @type {any} */ options) => setOptions(both[1], options)} /></div>`}
    <div class="module-toolbar">
      <${UnitBar} units=${about.units} unit=${shared.unit} pattern=${shared.pattern}
        onChange=${(/** @type {any} */ change) => shared.set(change)} />
    </div>
    <div class="module-results-area compare" tabindex="-1">
      <div class="seen" ref=${seen}>
        <div class="sides">${panel(0)}${panel(1)}</div>
        ${note(both, read, {same, paired: paired || compared === null, shares: compared?.note ?? ''})}
        ${a && b && html`<${AlignedTable} key=${shared.unit} rows=${aligned}
          inLines=${inLines(shared.unit)}
          noun=${NOUNS[shared.unit]} colours=${about.colours} a=${scales[0]} b=${scales[1]}
          compared=${compared} />`}
        ${halves.map((half, at) => half?.explanation && (common === null || at === 0) && html`
          <div class="legend-row"><b>${common === null ? NAMES[at] : 'A, B'}</b>
            <${Legend} colours=${about.colours} ...${scales[at]} /></div>`)}
        ${compared && paired && html`<div class="legend-row"><b>B − A</b>
          <${Legend} colours=${about.colours} most=${most} signed=${true} units=${compared.units}
            ends=${ENDS} /></div>`}
      </div>
      <div class="sides">${halves.map((half, at) => half?.explanation && html`
        <div key=${NAMES[at]}><${Card} explanation=${half.explanation} /></div>`)}</div>
    </div>
    <div class="module-footer">
      <${Downloads} name=${fileName(both)} seen=${() => seen.current} disabled=${compared === null}
        content=${() => content(halves, aligned)} />
    </div>`;
}

/**
 * What is to be said of the two: at most a line each.
 * @param {Side[]} both
 * @param {(Text | null)[]} read
 * @param {{same: boolean, paired: boolean, shares: string}} facts
 */
function note(both, read, {same, paired, shares}) {
  const [a, b] = both;
  const labels = both.map(({chosen}) => chosen.choice?.label ?? null);
  const lines = [
    !b.example && !a.example && 'Select an example in the data table, or enter one in the editor.',
    (!b.example !== !a.example) && `There is no example for ${a.example ? 'B' : 'A'}: choose one, pin one in the ` +
      'data table, or change this one in the editor and press Add.',
    same && 'Both sides are the same: choose another example, model or method.',
    !same && read.every(Boolean) && labels[0] !== labels[1] &&
      `Different labels are explained: ${labels[0]} in A, ${labels[1]} in B.`,
    shares,
    !paired && 'Nothing can be compared: the two texts have no part with a score in common.',
  ].filter(Boolean);
  return lines.map((line) => html`<p class="hint" role="note">${line}</p>`);
}

/**
 * The side's text in parts with their scores; null while it is not known.
 * @param {Side} side
 * @param {Text | null} text
 * @param {Answer | undefined} answer
 * @returns {Half | null}
 */
function half(side, text, answer) {
  if (text === null) return null;
  const {method, model, chosen} = side;
  /** @type {Explanation | null} */
  const explanation = answer?.state === 'done' ? answer.result[0] : null;
  const explained = chosen.span ?? [text.target_start ?? text.tokens.length, text.tokens.length];
  const parts = pieces(text, chosen.unit, [explained], explanation, method);
  return {
    text, model, method, explanation,
    // What is explained has no score of its own; all of the answer needs no frame.
    pieces: parts.map((one) => (one.target ? {...one, score: null, target: chosen.span !== null} : one)),
  };
}

/**
 * The question of a side: of the part of its answer that is chosen, or all of it.
 * @param {Side} side
 * @param {Text | null} text
 */
function wants({model, dataset, example, method, chosen}, text) {
  if (!text || !example) return null;
  /** @type {Span[] | null} */
  const spans = text.target_start === null ? null :
      [chosen.span ?? [text.target_start, text.tokens.length]];
  if (spans?.[0][0] === spans?.[0][1] && spans) return null; // an empty answer
  return question({model, dataset, example}, chosen, text, method, spans);
}

/**
 * Of models that generate no text: what they say.
 * @param {Text | null} text
 */
function predicted(text) {
  const choice = text?.choices.find(({chosen}) => chosen) ?? text?.choices[0];
  return choice ? {label: choice.label, span: choice.span} : null;
}

/**
 * Ends what is being computed for an old question, as soon as there is another one.
 * @param {object | null} wanted
 */
function useGivenUp(wanted) {
  const last = useRef(wanted);
  useEffect(() => {
    if (last.current) explanations.abandon(last.current);
    last.current = wanted;
  }, [wanted && keyOf(wanted)]);
}

/**
 * @param {(Half | null)[]} halves
 * @param {import('../core/aligned.js').Row[]} aligned
 */
function content([a, b], aligned) {
  const compared = a && b && comparison(a, b);
  if (!compared || !a?.explanation || !b?.explanation) return {text: '', json: '', csv: ''};
  const [one, other] = [a.explanation, b.explanation];
  const table = tableOf(aligned, one.units, other.units, compared.units);
  const said = (/** @type {Explanation} */ {card}) => [card.heading, ...card.about].join(' · ');
  return {
    text: [
      `A: ${said(one)}`, `B: ${said(other)}`, compared.note, '',
      ...(a.text.target !== null ? [`A: ${a.text.target}`, `B: ${b.text.target}`, ''] : []),
      ...table.map((row) => row.map((cell) => (
        typeof cell === 'string' ? cell.trim().replace(/\s+/g, ' ') : cell ?? '')).join('\t')), '',
    ].join('\n'),
    json: `{"A": ${json(one).trim()}, "B": ${json(other).trim()}}\n`,
    csv: csv(table),
  };
}

/** @param {Side[]} both */
const fileName = (both) => ['compare', ...both.map(({model, method, example}) =>
  `${model}-${method.name}-${(example?.id ?? '').slice(0, 8)}`)].join('-').replace(/[^\w.-]+/g, '_');

defineModule({
  element: 'salience-compare-module',
  title: 'Compare',
  info: INFO,
  duplicate: false,
  View: Compare,
});
