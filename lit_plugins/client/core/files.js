/**
 * What leaves the page: files and the clipboard.
 * @module
 */

/** @import {Explanation, Piece} from './types.js' */

/**
 * @param {string} name
 * @param {Blob} content
 */
export function download(name, content) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {string} text */
export const textFile = (text, type = 'text/plain') => new Blob([text], {type: `${type};charset=utf-8`});

/**
 * The explanation alone, in the format of docs/explanation-json.md.
 * @param {Explanation} explanation
 */
export function json({card, ...explanation}) {
  return `${JSON.stringify(explanation)}\n`;
}

/**
 * A table as CSV (RFC 4180). A text that a spreadsheet would take for a formula gets a quote in
 * front, as OWASP advises.
 * @param {(string | number | null)[][]} rows
 */
export function csv(rows) {
  const cell = (/** @type {string | number | null} */ value) => {
    if (typeof value !== 'string') return value === null ? '' : String(value);
    const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

/**
 * The parts that are seen, as a table.
 * @param {Piece[]} pieces
 * @param {string} units
 */
export const pieceRows = (pieces, units) => [
  ['start', 'stop', 'text', `score (${units})`, 'explained'],
  ...pieces.map(({start, stop, text, score, target}) => [start, stop, text, score, String(target)]),
];

/**
 * The same as plain text: each part with its score.
 * @param {string[]} heading lines
 * @param {Piece[]} pieces
 * @param {string} units
 */
export function pieceText(heading, pieces, units) {
  const scored = pieces.filter(({score}) => score !== null);
  const lines = scored.map(({text, score}) => `${score}\t${JSON.stringify(text.trim())}`);
  return [...heading, '', pieces.map(({text}) => text).join(''), '', units, ...lines, ''].join('\n');
}

/**
 * Puts text onto the clipboard; also in a page that the browser does not trust with it.
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}
