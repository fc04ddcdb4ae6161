/**
 * Keeps LIT's inline styles where a proxy sends a policy stricter than our server's own: lit-html
 * sets the attribute `style`, which `style-src 'self'` forbids; the same through the object `style`
 * is allowed. What LIT colours would be white, and what it places would lie elsewhere.
 */

const setAttribute = Element.prototype.setAttribute;

Element.prototype.setAttribute = function(
    /** @type {string} */ name, /** @type {string} */ value) {
  if (name === 'style' && (this instanceof HTMLElement || this instanceof SVGElement)) {
    this.style.cssText = value;
  } else {
    setAttribute.call(this, name, value);
  }
};
