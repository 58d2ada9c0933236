/** Commits that are remembered, some 200 bytes each. */
const MAX_COMMITS = 10_000;

/** Which trees commits have, of those that were made or asked for here: no commit ever has another. */
export interface CommitTrees {
  /** The tree of a commit, asked of git if it is not known. */
  of(applicationId: string, commit: string): Promise<string>;
  /** The tree of a commit if it is known, else the id as it is. */
  orSelf(id: string): string;
  /** The parent of a commit if it was made here and has one, else null. */
  parentOf(commit: string): string | null;
  note(commit: string, tree: string, parent?: string | null): void;
}

/** @param ask asks git for the tree of a commit */
export function rememberTrees(
  ask: (applicationId: string, commit: string) => Promise<string>,
): CommitTrees {
  const known = new Map<string, { readonly tree: string; readonly parent: string | null }>();
  const note: CommitTrees['note'] = (commit, tree, parent = null) => {
    const [oldest] = known.keys();
    if (known.size >= MAX_COMMITS && oldest !== undefined) known.delete(oldest);
    known.set(commit, { tree, parent });
  };
  return {
    of: async (applicationId, commit) => {
      const tree = known.get(commit)?.tree ?? (await ask(applicationId, commit));
      if (!known.has(commit)) note(commit, tree);
      return tree;
    },
    orSelf: (id) => known.get(id)?.tree ?? id,
    parentOf: (commit) => known.get(commit)?.parent ?? null,
    note,
  };
}
