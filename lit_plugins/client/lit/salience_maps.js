/**
 * Takes the spinner of LIT's Salience Maps away when a request is refused: in LIT 1.3.1 it stays for
 * ever, over all that could be clicked. Private names of LIT's: without them, it stays.
 */

const module = customElements.get('salience-map-module');
const run = module?.prototype?.runInterpreter;

if (module == null || run == null) {
  console.warn('lit_plugins: this LIT has no salience-map-module that runs interpreters.');
} else {
  module.prototype.runInterpreter = async function (/** @type {string} */ name) {
    try {
      return await run.call(this, name);
    } catch (error) {
      if (this.state?.[name] != null) this.state[name].isLoading = false;
      throw error;
    }
  };
}
