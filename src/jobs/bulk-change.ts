import type { Db } from '../store/database.ts';

/** A change of rows that is made together with others of its kind, where many come at once. */
export interface BulkChange {
  /** Makes changes of one kind; the same function for all of them. */
  readonly write: (tx: Db, changes: readonly BulkChange[]) => Promise<void>;
}

/**
 * Makes a kind of change from what changes any number of rows by one statement.
 * @returns makes such a change of one item
 */
export function bulkChange<T extends object>(
  writeAll: (tx: Db, items: readonly T[]) => Promise<void>,
): (item: T) => BulkChange {
  const items = new WeakMap<BulkChange, T>();
  const write: BulkChange['write'] = (tx, changes) =>
    writeAll(
      tx,
      changes.flatMap((change) => items.get(change) ?? []),
    );
  return (item) => {
    const change = { write };
    items.set(change, item);
    return change;
  };
}
