/**
 * Numbers as people read them.
 * @module
 */

/**
 * Three digits that matter, with a real minus sign.
 * @param {number} value
 * @param {boolean} [plus] whether what is above zero has a sign too
 */
export function short(value, plus = false) {
  if (value === 0) return '0';
  const size = Math.abs(value);
  const digits = size < 1e-4 || size >= 1e6 ? size.toExponential(2) : String(Number(size.toPrecision(3)));
  return (value < 0 ? '−' : plus ? '+' : '') + digits;
}

/**
 * All digits that the server has sent.
 * @param {number} value
 */
export const exact = (value) => String(value).replace('-', '−');

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/**
 * White space that would not be seen, as signs.
 * @param {string} text
 */
export const visible = (text) =>
    /^\s*$/.test(text) ? text.replaceAll('\n', '⏎').replaceAll(' ', '␣').replaceAll('\t', '⇥') || '∅' : text.trim();

const LONGEST = 60; // characters

/**
 * A text on one line, as on a button.
 * @param {string} text
 */
export function brief(text) {
  const line = text.trim().replace(/\s+/g, ' ');
  return line.length > LONGEST ? `${line.slice(0, LONGEST)} …` : line || '(empty)';
}
