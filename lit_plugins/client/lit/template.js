/**
 * Templates of lit-html, which LIT's bundle keeps to itself: it draws any object of this form. What
 * is in `${}` is drawn as text, or is a template, a DOM node or a list of them.
 * @module
 */

/** @typedef {{_$litType$: 1, strings: TemplateStringsArray, values: unknown[]}} Template */

/**
 * @param {TemplateStringsArray} strings the same array at each call from one place
 * @param {...unknown} values
 * @returns {Template}
 */
export const html = (strings, ...values) => ({_$litType$: 1, strings, values});
