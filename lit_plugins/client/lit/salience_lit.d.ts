/** What `salience_*.js` use of `modules/salience_map_module.ts` beside what `lit.d.ts` has. */

import type {Piece, Unit} from '../core/types.js';
import type {IndexedInput, SalienceMapModule} from './lit.js';
import type {Template} from './template.js';

export interface Cmap {
  readonly colorScale: {domain(): [number, number]};
  lightness(score: number): number;
  bgCmap(score: number): string;
  textCmap(score: number): string;
  asScale(): unknown;
}

/** How one explanation is drawn: see `components/interpreters.py`. */
export interface Detail {
  signed: boolean;
  units: string;
  rows: {name: string; views: Partial<Record<Unit, Piece[]>>}[];
  card: {heading: string; about: string[]; facts: [string, string][]; warnings: string[]};
  forward: number;
  backward: number;
  seconds: number;
  convergence_error: number | null;
}

/** What a row has to show: of LIT's interpreters, chips by name; of ours, `about.detail` too. */
export interface Salience {
  about?: {detail?: Detail};
  /** Ours: in place of a result that was refused. */
  litPluginsError?: {line: string};
  [key: string]: unknown;
}

export interface RowState {
  isLoading: boolean;
  autorun: boolean;
  salience: Salience;
  cmap: Cmap;
}

export interface SalienceMaps extends Omit<SalienceMapModule, 'state'> {
  state: Record<string, RowState>;
  currentData?: IndexedInput;
  targetField?: string;
  salienceTarget?: number;
  readonly labelVocab?: string[];
  signedCmap: Cmap;
  hasSignedSalience: boolean;
  hasUnsignedSalience: boolean;
  latestLoadPromises: Map<string, Promise<unknown>>;
  clearSalience(): void;
  renderImpl(): unknown;
  renderHeaderControls(): unknown;
  renderMethodControls(name: string): Template | null;
  renderMethodRow(name: string): unknown;
  renderGroup(salience: Salience, spec: object, key: string, cmap: Cmap, title?: string): unknown;
  renderTokenSalience(
    tokens: string[], scores: number[], key: string, cmap: Cmap, title?: string): unknown;
  renderColorLegend(label: string, cmap: Cmap, blocks: number): unknown;
  renderFooter(): unknown;
}

export type SalienceMapsClass = {prototype: SalienceMaps; elementStyles: object[]};
