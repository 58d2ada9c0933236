import { compareCodeUnits } from './code-unit-order.ts';
import type { ChangedFiles } from './deployment-options.ts';

/** A file of a difference between two trees, with its size in bytes (the old size where it was deleted). */
export interface FileChange {
  readonly path: string;
  readonly bytes: number;
}

export interface TreeDifference {
  readonly added: readonly FileChange[];
  readonly modified: readonly FileChange[];
  readonly deleted: readonly FileChange[];
}

/** Rows stay small however many files a build changes. */
const LISTED_FILES = 200;

/** Counts of all changes, and the first of them by path. */
export function summarizeChanges(difference: TreeDifference): ChangedFiles {
  const { added, modified, deleted } = difference;
  const files = (['added', 'modified', 'deleted'] as const)
    .flatMap((change) => difference[change].map(({ path, bytes }) => ({ path, change, bytes })))
    .sort((a, b) => compareCodeUnits(a.path, b.path))
    .slice(0, LISTED_FILES);
  return { added: added.length, modified: modified.length, deleted: deleted.length, files };
}
