/**
 * Leaves two of LIT's modules out, Scalars and Dive, where a proxy's Content-Security-Policy forbids
 * to compile code in the browser: their plots (megaplot, by regl) do, and would be empty frames.
 */

function compiles() {
  try {
    return new Function('return true')();
  } catch {
    return false;
  }
}

if (!compiles()) {
  for (const name of ['dive-module', 'scalar-module']) {
    const module = /** @type {typeof import('./lit.js').LitModule | undefined} */ (
      customElements.get(name));
    if (module != null) module.shouldDisplayModule = () => false;
  }
}
