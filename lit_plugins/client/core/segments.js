/**
 * A text in parts, each with its score.
 * @module
 */

/** @import {Explanation, Method, Piece, Span, Text, Unit} from './types.js' */

/**
 * The text in parts of one unit; what is explained begins and ends a part.
 * @param {Text} text
 * @param {Unit} unit
 * @param {Span[]} spans what is explained
 * @param {Explanation | null} explanation whose scores are shown
 * @param {Method | null} method its method
 * @param {number} [row] of an explanation of each target by itself
 * @returns {Piece[]}
 */
export function pieces(text, unit, spans, explanation = null, method = null, row = 0) {
  const count = text.tokens.length;
  /** @type {Span[]} */
  const own = explanation === null || method === null || method.by_position
      ? [] : explanation.segments.map(({start, stop}) => [start, stop]);
  const cuts = new Set([0, count, text.target_start ?? count, ...spans.flat()]);
  /** @type {Span[]} */
  const parts = [];
  let place = 0;
  for (const [start, stop] of [...own, /** @type {Span} */ ([count, count])]) {
    parts.push(...split(grid(text, unit), place, start, cuts));
    if (stop > start) parts.push([start, stop]);
    place = stop;
  }
  const scores = explanation === null ? null : perToken(explanation, count, row);
  return parts.map(([start, stop]) => ({
    start,
    stop,
    text: text.pieces.slice(start, stop).join(''),
    score: scores === null ? null : sum(scores, start, stop),
    target: spans.some(([first, last]) => start >= first && stop <= last),
    own: text.own.slice(start, stop).every(Boolean),
  }));
}

/**
 * One score a token, a segment's spread evenly over its tokens; null for what has none.
 * @param {Explanation} explanation
 * @param {number} count of tokens
 * @param {number} [row]
 * @returns {(number | null)[]}
 */
export function perToken(explanation, count, row = 0) {
  /** @type {(number | null)[]} */
  const spread = Array(count).fill(null);
  const scores = rowsOf(explanation)[row] ?? [];
  explanation.segments.forEach(({start, stop}, number) => {
    spread.fill(scores[number] / (stop - start), start, stop);
  });
  return spread;
}

/**
 * The scores as rows, one a target.
 * @param {Explanation} explanation
 * @returns {number[][]}
 */
export function rowsOf({scores}) {
  const nested = Array.isArray(scores[0]);
  return nested ? /** @type {number[][]} */ (scores) : [/** @type {number[]} */ (scores)];
}

/**
 * The largest absolute score; 0 if there is none.
 * @param {Iterable<number | null>} scores
 */
export function largest(scores) {
  let most = 0;
  for (const score of scores) most = Math.max(most, Math.abs(score ?? 0));
  return most;
}

/**
 * The parts of one unit; with a pattern what it does not match is a part as well.
 * @param {Text} text
 * @param {Unit} unit
 * @returns {Span[]}
 */
function grid(text, unit) {
  return text.segments[unit] ?? text.tokens.map((_, place) => [place, place + 1]);
}

/**
 * The part of the text from `first` to `last`, divided as the grid and the cuts say.
 * @param {Span[]} spans
 * @param {number} first
 * @param {number} last
 * @param {Set<number>} cuts
 * @returns {Span[]}
 */
function split(spans, first, last, cuts) {
  const edges = new Set([first, last]);
  for (const [start, stop] of [...spans, ...[...cuts].map((cut) => [cut, cut])]) {
    for (const edge of [start, stop]) if (edge > first && edge < last) edges.add(edge);
  }
  const sorted = [...edges].sort((one, other) => one - other);
  return sorted.slice(1).map((stop, number) => [sorted[number], stop]);
}

/**
 * @param {(number | null)[]} scores
 * @param {number} start
 * @param {number} stop
 */
function sum(scores, start, stop) {
  /** @type {number | null} */
  let total = null;
  for (let place = start; place < stop; place++) {
    const score = scores[place];
    if (score !== null) total = (total ?? 0) + score;
  }
  return total;
}
