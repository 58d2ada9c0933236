import type { TreeDiff } from './trees.ts';

/** Two trees of one application, which never change: their names are those of their content. */
interface TreePair {
  readonly applicationId: string;
  readonly from: string;
  readonly to: string;
}

export interface KeptDiffs<O extends TreePair> {
  get(o: O): Promise<TreeDiff>;
  /** The diff if it is kept, else null. */
  peek(o: TreePair): TreeDiff | null;
}

/** Files in all kept diffs together; some 20 MB. */
const MAX_FILES = 50_000;

/**
 * Keeps the diffs that were computed last. A deployment asks for the same one several times: when it is planned, when
 * the servers are looked at, when it is committed, and each time two processes would have to be started.
 */
export function keepDiffs<O extends TreePair>(compute: (o: O) => Promise<TreeDiff>): KeptDiffs<O> {
  // In the order of their last use.
  const kept = new Map<string, TreeDiff>();
  let files = 0;
  const keyOf = (o: TreePair): string => `${o.applicationId} ${o.from} ${o.to}`;
  const get = async (o: O): Promise<TreeDiff> => {
    const key = keyOf(o);
    const known = kept.get(key);
    const diff = known ?? (await compute(o));
    if (kept.delete(key)) files -= filesOf(diff);
    kept.set(key, diff);
    files += filesOf(diff);
    for (const [oldest, old] of kept) {
      if (files <= MAX_FILES) break;
      kept.delete(oldest);
      files -= filesOf(old);
    }
    return diff;
  };
  return { get, peek: (o) => kept.get(keyOf(o)) ?? null };
}

/** At least one, so that there cannot be any number of empty ones. */
function filesOf({ added, modified, deleted }: TreeDiff): number {
  return 1 + added.length + modified.length + deleted.length;
}
