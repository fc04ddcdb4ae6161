/**
 * The private names of LIT 1.3.1 that our modules use, as its TypeScript has them. Types alone:
 * `import('./lit.js').IndexedInput` in JSDoc. What is missing here is not used, and not checked by
 * `lit_plugins/server/lit_client.py` either.
 */

export interface LitType {
  readonly __name__?: string;
  readonly parent?: string;
  readonly vocab?: string[];
  readonly align?: string;
  readonly signed?: boolean;
  readonly required?: boolean;
  [name: string]: unknown;
}

export type Spec = Record<string, LitType>;

export interface ModelInfo {
  datasets: string[];
  interpreters: string[];
  generators: string[];
  metrics: string[];
  spec: {input: Spec; output: Spec};
  description?: string;
}

export type ModelInfoMap = Record<string, ModelInfo>;

export interface IndexedInput {
  id: string;
  data: Record<string, any>;
  meta: {source?: string; added?: boolean; parentId?: string};
}

export interface LayoutSettings {
  hideToolbar?: boolean;
  mainHeight?: number;
  leftWidth?: number;
  centerPage?: boolean;
}

export interface Layout {
  layoutSettings?: LayoutSettings;
  description?: string;
}

export interface AppState {
  readonly metadata: {models: ModelInfoMap; demoMode: boolean; [name: string]: unknown};
  readonly currentDataset: string;
  readonly currentDatasetSpec: Spec;
  readonly currentInputData: IndexedInput[];
  readonly currentInputDataById: Map<string, IndexedInput>;
  readonly currentModels: string[];
  readonly currentModelInfos: ModelInfoMap;
  readonly compareExamplesEnabled: boolean;
  getModelSpec(model: string): {input: Spec; output: Spec};
  getCurrentInputDataById(id: string): IndexedInput | null;
  annotateNewData(data: IndexedInput[]): Promise<IndexedInput[]>;
  commitNewDatapoints(data: IndexedInput[]): void;
}

export interface SelectionService {
  readonly primarySelectedId: string | null;
  readonly primarySelectedInputData: IndexedInput | null;
  readonly selectedIds: string[];
  readonly selectedInputData: IndexedInput[];
  selectIds(ids: string[], user?: object): void;
  setPrimarySelection(id: string | null, user?: object): void;
}

export interface ApiService {
  getPreds(
    inputs: IndexedInput[], model: string, dataset: string, types: string[], fields?: string[],
    loadMessage?: string): Promise<Array<Record<string, any>> | null>;
}

/** Base of all modules (`core/lit_module.ts`), by way of lit's own LitElement. */
export class LitModule extends HTMLElement {
  static title: string;
  static infoMarkdown: string;
  static numCols: number;
  static collapseByDefault: boolean;
  static duplicateForExampleComparison: boolean;
  static duplicateForModelComparison: boolean;
  static duplicateAsRow: boolean;
  /** Returns a template of lit's: `{_$litType$: 1, strings, values}`. */
  static template(model: string, selectionServiceIndex: number, shouldReact: number): unknown;
  static shouldDisplayModule(models: ModelInfoMap, datasetSpec: Spec): boolean;
  static readonly properties: Record<string, object>;
  static readonly styles: unknown;

  model: string;
  selectionServiceIndex: number;
  shouldReact: number;
  setIsLoading: (isLoading: boolean) => void;
  readonly appState: AppState;
  readonly apiService: ApiService;
  get selectionService(): SelectionService;

  readonly updateComplete: Promise<boolean>;
  readonly renderRoot: HTMLElement | ShadowRoot;
  connectedCallback(): void;
  disconnectedCallback(): void;
  requestUpdate(): void;
  createRenderRoot(): HTMLElement | ShadowRoot;
  firstUpdated(changed?: Map<string, unknown>): void;
  updated(changed?: Map<string, unknown>): void;
  render(): unknown;
  renderImpl(): unknown;
  loadLatest<T>(key: string, promise: Promise<T>): Promise<T | null>;
  react<T>(get: () => T, effect: (value: T) => void): void;
  reactImmediately<T>(get: () => T, effect: (value: T) => void): void;
}

/** `modules/salience_map_module.ts` */
export class SalienceMapModule extends LitModule {
  state: Record<string, {isLoading: boolean; autorun: boolean; salience: object; cmap: object}>;
  runInterpreter(name: string): Promise<void>;
}

/** `core/modules.ts`: all that is on the page below the toolbar. */
export class LitModules extends HTMLElement {
  modulesService?: {declaredLayout?: Layout};
  upperHeight: string;
  leftColumnWidth: string;
  willUpdate?(changed: Map<string, unknown>): void;
  /** Ours: the layout whose settings have been taken over. */
  litPluginsLayout?: Layout;
}

declare global {
  interface CustomElementRegistry {
    get(name: 'lit-modules'): typeof LitModules | undefined;
    get(name: 'salience-map-module'): typeof SalienceMapModule | undefined;
    get(name: 'sequence-salience-module'): typeof LitModule | undefined;
  }
  interface HTMLElementTagNameMap {
    'lit-app-toolbar': HTMLElement & {requestUpdate(): void};
  }
}
