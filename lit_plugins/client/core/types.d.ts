/** What the server's routes answer: see server/explanations.py. */

export type Unit = 'token' | 'word' | 'sentence' | 'line' | 'paragraph' | 'example' | 'regex';
export type Span = [start: number, stop: number];

export interface Choice {
  name: string;
  label: string | null;
  span: string | null;
  value: string;
  chosen: boolean;
}

export interface Text {
  sequences: {source: 'response' | 'target'; field: string; text: string}[];
  target: string | null;
  tokens: string[];
  pieces: string[];
  own: boolean[];
  target_start: number | null;
  dropped: number;
  segments: Partial<Record<Unit, Span[]>>;
  choices: Choice[];
}

export interface Explanation {
  method: string;
  names: string[];
  foil: string | null;
  value: number | number[];
  baseline_value: number | number[] | null;
  units: string;
  signed: boolean;
  tokens: string[];
  places: number[];
  targets: number[];
  segments: {start: number; stop: number; text: string}[];
  scores: number[] | number[][];
  convergence_error: number | null;
  warnings: string[];
  forward: number;
  backward: number;
  seconds: number;
  options: Record<string, unknown>;
  card: {heading: string; about: string[]; facts: [string, string][]; warnings: string[]};
}

export interface Method {
  name: string;
  title: string;
  family: string;
  signed: boolean;
  additive: boolean;
  linear: boolean;
  cheap: boolean;
  by_position: boolean;
  units: string;
  description: string;
  cost: string;
  options: string[];
}

export interface OptionField {
  kind: 'choice' | 'number' | 'text' | 'flag' | 'steps';
  choices: string[] | null;
  default_by_method?: Record<string, unknown>;
  help: string;
}

export interface Colours {
  levels: number;
  page: string;
  ink: string;
  for: string[];
  against: string[];
  much: string[];
}

export interface About {
  methods: Method[];
  options: Record<string, OptionField>;
  units: Unit[];
  colours: Colours;
  models: Record<string, {task: string; options: string[]}>;
}

/** An example as LIT's client knows it. */
export interface Example {
  id: string;
  data: Record<string, unknown>;
  meta: {source?: string; added?: boolean; parentId?: string};
}

/** What LIT's page shows, read by our modules: see lit/module.js. */
export interface Page {
  model: string;
  models: string[];
  dataset: string;
  side: number;
  example: Example | null;
  pinned: Example | null;
  examples: Example[];
  /** The fields of a model's input. */
  inputs: Record<string, string[]>;
}

/** A part of a text as it is drawn. */
export interface Piece {
  start: number;
  stop: number;
  text: string;
  score: number | null;
  target: boolean;
  own: boolean;
  /** How its text differs from another one's. */
  differs?: {runs: {text: string; marked: boolean}[]; mark: 'ins' | 'del'};
}
