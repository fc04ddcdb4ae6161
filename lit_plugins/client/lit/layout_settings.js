/**
 * Makes a layout's settings count: LIT 1.3.1 reads `mainHeight`, `leftWidth` and `hideToolbar`
 * before it knows the layout, and never again (`core/modules.ts` reacts to something that MobX does
 * not observe). And lets its columns be narrower than LIT does: on a laptop's enlarged page, the right
 * one would be out of reach. Private names of LIT's: without them, the page stays as LIT draws it.
 */

const STYLE = '.outer-container { min-width: 600px; }'; // 1000 in LIT

const modules = customElements.get('lit-modules')?.prototype;

if (modules == null) {
  console.warn('lit_plugins: this LIT has no lit-modules; the sizes in layouts do not count.');
} else {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  /** @type {any} */ (modules.constructor).elementStyles?.push(sheet);
  const willUpdate = modules.willUpdate;
  modules.willUpdate = /** @this {import('./lit.js').LitModules} */ function(changed) {
    willUpdate?.call(this, changed);
    const layout = this.modulesService?.declaredLayout;
    if (layout == null || layout === this.litPluginsLayout) return;
    this.litPluginsLayout = layout;
    const {mainHeight, leftWidth} = layout.layoutSettings ?? {};
    if (mainHeight != null) this.upperHeight = `${mainHeight}%`;
    if (leftWidth != null) this.leftColumnWidth = `${leftWidth}%`;
    document.querySelector('lit-app')?.shadowRoot?.querySelector('lit-app-toolbar')
        ?.requestUpdate();
  };
}
