/**
 * Two texts part by part, with the scores of both and their difference.
 * @module
 */

/** @import {Explanation, Method, Piece, Text, Unit} from './types.js' */
/** @import {Pair} from './diff.js' */

import {align} from './diff.js';
import {largest} from './segments.js';

/**
 * Parts in the same place; or one of one text alone.
 * @typedef {object} Cell
 * @property {Pair['kind']} kind
 * @property {Piece | null} a
 * @property {Piece | null} b
 * @property {number | null} difference B − A, as `Comparison` says; null if there are not two scores
 */

/**
 * Lines of small parts, or one larger part.
 * @typedef {object} Row
 * @property {Pair['kind']} kind
 * @property {boolean} answer whether it belongs to the answers
 * @property {Cell[]} cells
 */

/**
 * How scores are made comparable.
 * @typedef {object} Comparison
 * @property {boolean} shares whether differences are of shares, not of scores
 * @property {number} a factor of A's scores
 * @property {number} b factor of B's scores
 * @property {string} note why, for people; empty if scores are compared as they are
 * @property {string} units of differences
 */

/**
 * One side of a comparison.
 * @typedef {object} Half
 * @property {Text} text
 * @property {Piece[]} pieces
 * @property {string} model
 * @property {Method} method
 * @property {Explanation | null} explanation
 */

export const UNPAIRED = {a: 'only in A', b: 'only in B', equal: 'equal', changed: 'changed'};

/** Units whose parts are too small to have a row each: they stand in lines. */
const SMALL = new Set(['token', 'word', 'regex']);

/** @param {Unit} unit */
export const inLines = (unit) => SMALL.has(unit);

/**
 * @param {Half} a
 * @param {Half} b
 * @returns {Comparison | null} null while there are not two explanations
 */
export function comparison(a, b) {
  if (!a.explanation || !b.explanation) return null;
  const [unitsA, unitsB] = [a.explanation.units, b.explanation.units];
  const why = a.method.name !== b.method.name ? 'The methods differ' :
      unitsA !== unitsB ? `The units differ (${unitsA}; ${unitsB})` :
      a.explanation.signed !== b.explanation.signed ? 'One has a sign and the other not' :
      // Sizes of gradients depend on how large a model's numbers are.
      a.model !== b.model && !a.method.additive ? 'The models differ, and this method has no common measure' : '';
  if (!why) return {shares: false, a: 1, b: 1, note: '', units: unitsA};
  const [factorA, factorB] = [a, b].map(({pieces}) => 1 / pieces.reduce(
      (sum, {score}) => sum + Math.abs(score ?? 0), 0));
  return {
    shares: true, a: factorA, b: factorB, units: 'share of all absolute scores',
    note: `${why}: B − A is of shares (a score divided by the sum of all absolute scores).`,
  };
}

/**
 * The two texts in rows: first the prompts, then what of the answers has scores.
 * @param {Half} a
 * @param {Half} b
 * @param {Unit} unit
 * @returns {Row[]}
 */
export function rows(a, b, unit) {
  const compared = comparison(a, b);
  const cell = (/** @type {Pair['kind']} */ kind, /** @type {Piece | null} */ one,
      /** @type {Piece | null} */ other) =>
    ({kind, a: one, b: other, difference: difference(one, other, compared)});
  return [false, true].flatMap((answer) => {
    const [linesA, linesB] = [a, b].map((half) => lines(half, unit, answer));
    return align(linesA.map(joined), linesB.map(joined)).map(({kind, a, b}) => {
      const [inA, inB] = [a === null ? [] : linesA[a], b === null ? [] : linesB[b]];
      const cells = kind === 'equal' ? together(inA, inB).map(([one, other]) => cell('equal', one, other)) :
        kind === 'changed' && inLines(unit) ?
          align(inA.map(({text}) => text), inB.map(({text}) => text)).map(
              ({kind, a, b}) => cell(kind, a === null ? null : inA[a], b === null ? null : inB[b])) :
        kind === 'changed' ? [cell(kind, inA[0], inB[0])] :
          [...inA.map((piece) => cell('a', piece, null)), ...inB.map((piece) => cell('b', null, piece))];
      return {kind, answer, cells};
    });
  });
}

/**
 * Rows next to one another that are equal and hardly differ in their scores, for folding.
 * @param {Row[]} all
 * @returns {{first: number, rows: Row[], quiet: boolean}[]}
 */
export function stretches(all) {
  const notable = largest(all.flatMap(({cells}) => cells.map(({difference}) => difference))) / 4;
  /** @type {{first: number, rows: Row[], quiet: boolean}[]} */
  const found = [];
  all.forEach((row, number) => {
    const most = largest(row.cells.map(({difference}) => difference));
    const quiet = row.kind === 'equal' && (most === 0 || most < notable);
    const last = found.at(-1);
    if (last && last.quiet === quiet) last.rows.push(row);
    else found.push({first: number, rows: [row], quiet});
  });
  return found;
}

/**
 * All rows as a table.
 * @param {Row[]} all
 * @param {string} unitsA
 * @param {string} unitsB
 * @param {string} units of differences
 * @returns {(string | number | null)[][]}
 */
export const tableOf = (all, unitsA, unitsB, units) => [
  ['place', 'kind', 'A', 'B', `A (${unitsA})`, `B (${unitsB})`, `B − A (${units})`],
  ...all.flatMap(({answer, cells}) => cells.map(({kind, a, b, difference}) => [
    answer ? 'answer' : 'prompt', UNPAIRED[kind], a?.text ?? null, b?.text ?? null,
    a?.score ?? null, b?.score ?? null, difference,
  ])),
];

/**
 * @param {Piece | null} a
 * @param {Piece | null} b
 * @param {Comparison | null} compared
 */
function difference(a, b, compared) {
  if (compared === null || !a || !b || a.score === null || b.score === null) return null;
  const value = b.score * compared.b - a.score * compared.a;
  return Number.isFinite(value) ? value : null; // shares of nothing
}

/** @param {Piece[]} pieces */
const joined = (pieces) => pieces.map(({text}) => text).join('');

/**
 * The pieces of the prompt, or those of the answer that have scores, in the rows they stand in.
 * @param {Half} half
 * @param {Unit} unit
 * @param {boolean} answer
 */
function lines({text, pieces}, unit, answer) {
  const begins = text.target_start ?? Infinity;
  const some = pieces.filter(({start, score}) => answer ? start >= begins && score !== null : start < begins);
  if (!inLines(unit)) return some.map((piece) => [piece]);
  const starts = (text.segments.line ?? []).map(([start]) => start);
  /** @type {Piece[][]} */
  const found = [];
  let line = 0;
  for (const piece of some) {
    let next = line;
    while (starts[next] <= piece.start) next++;
    if (next !== line || !found.length) found.push([]);
    line = next;
    found[found.length - 1].push(piece);
  }
  return found;
}

/**
 * The same text in two divisions, by parts that both have.
 * @param {Piece[]} a
 * @param {Piece[]} b
 * @returns {[Piece, Piece][]}
 */
function together(a, b) {
  const size = (/** @type {Piece[]} */ some) => joined(some).replace(/\s/g, '').length;
  /** @type {[Piece[], Piece[]][]} */
  const found = [];
  let [atA, atB] = [0, 0];
  while (atA < a.length && atB < b.length) {
    const [someA, someB] = [[a[atA++]], [b[atB++]]];
    for (;;) {
      const [sizeA, sizeB] = [size(someA), size(someB)];
      if (sizeA < sizeB && atA < a.length) someA.push(a[atA++]);
      else if (sizeB < sizeA && atB < b.length) someB.push(b[atB++]);
      else break;
    }
    found.push([someA, someB]);
  }
  const last = found.at(-1); // white space alone may be left
  last?.[0].push(...a.slice(atA));
  last?.[1].push(...b.slice(atB));
  return found.map(([one, other]) => [merged(one), merged(other)]);
}

/**
 * @param {Piece[]} pieces
 * @returns {Piece}
 */
function merged(pieces) {
  if (pieces.length === 1) return pieces[0];
  const scores = pieces.flatMap(({score}) => score ?? []);
  return {
    ...pieces[0],
    stop: pieces[pieces.length - 1].stop,
    text: joined(pieces),
    score: scores.length ? scores.reduce((sum, score) => sum + score) : null,
    own: pieces.every(({own}) => own),
  };
}
