/**
 * The style sheet of what we draw, from a file as LIT's are.
 * @module
 */

export const sheet = new CSSStyleSheet();

fetch(new URL('../modules.css', import.meta.url))
    .then((response) => response.text())
    .then((text) => sheet.replaceSync(text));
