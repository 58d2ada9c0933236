import type { Bench } from './bench.ts';

/** What a figure has to be to meet its goal. */
export type Goal = { readonly atMost: number } | { readonly atLeast: number };

/** One number of a row. */
export interface Figure {
  /** Unique in its row, and the same in every run: by it the last result is found. */
  readonly name: string;
  /** Null if it could not be measured; then `note` says why. */
  readonly value: number | null;
  /** What the value is counted in; `×` for ratios. */
  readonly unit: string;
  readonly goal: Goal;
  readonly note?: string;
}

/** Numbers that explain the figures. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface RowResult {
  readonly figures: readonly Figure[];
  readonly tables: readonly Table[];
  /** Sentences: how it was measured, what was left out and why. */
  readonly notes: readonly string[];
}

/** One piece of work that is measured. */
export interface Row {
  readonly number: number;
  readonly work: string;
  /** Whether other programs are measured beside Muster; `--quick` leaves it out then. */
  readonly needsPeers: boolean;
  readonly run: (bench: Bench) => Promise<RowResult>;
}

/** @returns null if there is no value */
export function isMet({ value, goal }: Figure): boolean | null {
  if (value === null) return null;
  return 'atMost' in goal ? value <= goal.atMost : value >= goal.atLeast;
}

/** A table with one row of cells that are already text. */
export function table(
  title: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): Table {
  return { title, columns, rows };
}
