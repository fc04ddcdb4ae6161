/**
 * Leaves two of LIT's modules out, Scalars and Dive: their plots (megaplot, by regl) compile code in
 * the browser, which the page's Content-Security-Policy forbids, and would be empty frames.
 */

for (const name of ['dive-module', 'scalar-module']) {
  const module = /** @type {typeof import('./lit.js').LitModule | undefined} */ (
    customElements.get(name));
  if (module != null) module.shouldDisplayModule = () => false;
}
