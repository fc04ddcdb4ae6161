/**
 * Leaves the Sequence Salience module out where no model takes prompts: LIT 1.3.1 shows it empty for
 * classifiers, and with it a tab that has nothing else. Private names of LIT's: without them, the
 * empty module stays.
 */

const module = customElements.get('sequence-salience-module');

if (module == null) {
  console.warn('lit_plugins: this LIT has no sequence-salience-module.');
} else {
  module.shouldDisplayModule = (models) =>
      Object.values(models).some((model) => 'prompt' in (model.spec?.input ?? {}));
}
