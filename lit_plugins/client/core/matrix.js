/**
 * A matrix of scores as numbers: what is explained by what, a row for each of the targets.
 * @module
 */

/** @import {Session} from './session.js' */
/** @import {Choice, Example, Explanation, Method, Page, Span, Text, Unit} from './types.js' */

import {largest, pieces, rowsOf} from './segments.js';
import {question} from './session.js';
import {visible} from './words.js';

/**
 * What a row is about: tokens of the text, or something else that the model says.
 * @typedef {{name: string, span: Span | null, choice: Pick<Choice, 'label' | 'span'> | null}} Row
 */

/**
 * @typedef {object} Matrix
 * @property {Row[]} rows
 * @property {{start: number, stop: number, text: string}[]} columns
 * @property {(number | null)[][]} scores a list a row; null for what has none
 * @property {number[]} most the largest absolute score of each row
 * @property {boolean} signed
 * @property {string} units
 */

/** @typedef {NonNullable<ReturnType<typeof question>>} Question */

/** Labels that each have a text of their own: no pass of the model has all of them. */
const APART = 'zero-shot';

/**
 * What is to be asked for a whole matrix.
 * @param {Pick<Page, 'model' | 'dataset'> & {example: Example}} page
 * @param {Session} chosen
 * @param {Text} text
 * @param {Method} method
 * @param {string} task
 * @param {boolean} byToken whether a row is a token, whatever a column is
 * @returns {Question[]}
 */
export function questions(page, chosen, text, method, task, byToken) {
  const {foil: _, ...options} = chosen.options; // a contrast is with one target
  const ask = (/** @type {Session['choice']} */ choice, /** @type {Span[] | null} */ spans,
      /** @type {boolean} */ each) => question(
      page, {...chosen, options, choice}, text, method, spans, each ? {each} : {});
  if (text.target !== null) {
    const first = text.target_start ?? 0;
    /** @type {Span[]} */
    const spans = pieces(text, chosen.unit, [])
        .map(({start, stop}) => /** @type {Span} */ ([Math.max(start, first, 1), stop]))
        .filter(([start, stop]) => start < stop); // the first token of a text is never predicted
    const each = byToken || spans.every(([start, stop]) => stop - start === 1);
    const whole = /** @type {Span} */ ([first, text.tokens.length]);
    return spans.length ? [/** @type {Question} */ (ask(null, each ? [whole] : spans, each))] : [];
  }
  if (labelled(text, task)) return [/** @type {Question} */ (ask({label: null, span: null}, null, true))];
  return text.choices.map(({label, span}) => /** @type {Question} */ (ask({label, span}, null, false)));
}

/**
 * Whether all that the model says is labels of one text.
 * @param {Text} text
 * @param {string} task
 */
const labelled = ({choices}, task) =>
  task !== APART && choices.length > 0 && choices.every(({label, span}) => label !== null && span === null);

/**
 * The answers to those questions, in their order.
 * @param {Text} text
 * @param {Unit} unit of columns
 * @param {Method} method
 * @param {string} task
 * @param {Explanation[]} explanations
 * @returns {Matrix}
 */
export function matrix(text, unit, method, task, explanations) {
  const lines = explanations.flatMap((one, number) => rowsOf(one).map((scores, place) => (
    {scores, segments: one.segments, row: row(text, task, one, number, place)})));
  const columns = parts(text, unit, method, lines);
  /** @type {number[]} */
  const columnOf = [];
  columns.forEach(({start, stop}, number) => {
    for (let place = start; place < stop; place++) columnOf[place] = number;
  });
  const scores = lines.map(({scores, segments, row: {span}}) => {
    /** @type {(number | null)[]} */
    const line = Array(columns.length).fill(null);
    segments.forEach(({start, stop}, number) => {
      const column = columnOf[start];
      // What is explained drives neither itself nor what stands before it.
      if (column === undefined || stop > columns[column].stop || (span && start >= span[0])) return;
      line[column] = (line[column] ?? 0) + scores[number];
    });
    return line;
  });
  const kept = columns.map((_, column) => scores.some((line) => line[column] !== null));
  const shown = scores.map((line) => line.filter((_, column) => kept[column]));
  return {
    rows: lines.map((line) => line.row),
    columns: columns.filter((_, column) => kept[column]),
    scores: shown,
    most: shown.map(largest),
    signed: explanations.some(({signed}) => signed),
    units: explanations[0]?.units ?? '',
  };
}

/**
 * @param {Text} text
 * @param {string} task
 * @param {Explanation} explanation
 * @param {number} number of the explanation
 * @param {number} place in it
 * @returns {Row}
 */
function row(text, task, explanation, number, place) {
  if (text.target === null) {
    if (!labelled(text, task)) return {name: text.choices[number].name, span: null, choice: text.choices[number]};
    const label = explanation.names[place];
    return {name: label, span: null, choice: {label, span: null}};
  }
  const {targets, places, scores} = explanation;
  const [first, last] = Array.isArray(scores[0])
    ? [targets[place], targets[place]] : [places[0], places[places.length - 1]];
  return {name: text.pieces.slice(first, last + 1).join(''), span: [first, last + 1], choice: null};
}

/**
 * The parts of the text that columns are: the method's own, or sums over what it scores.
 * @param {Text} text
 * @param {Unit} unit
 * @param {Method} method
 * @param {{segments: Explanation['segments'], row: Row}[]} lines
 */
function parts(text, unit, method, lines) {
  if (method.by_position) {
    return pieces(text, unit, []).map(({start, stop, text}) => ({start, stop, text}));
  }
  /** @type {Map<number, Explanation['segments'][number]>} */
  const found = new Map();
  for (const {segments, row: {span}} of lines) {
    for (const one of segments) if (!span || one.start < span[0]) found.set(one.start, one);
  }
  return [...found.values()].sort((one, other) => one.start - other.start);
}

/**
 * The matrix as it is seen, for a table.
 * @param {Matrix} matrix
 * @returns {(string | number | null)[][]}
 */
export const table = ({rows, columns, scores, units}) => [
  [units, ...columns.map(({text}) => visible(text))],
  ...rows.map(({name}, row) => [visible(name), ...scores[row]]),
];

/**
 * The same as plain text.
 * @param {string[]} heading lines
 * @param {Matrix} matrix
 */
export const plain = (heading, matrix) =>
  [...heading, '', ...table(matrix).map((line) => line.map((one) => one ?? '').join('\t')), ''].join('\n');
