/** Commits that are remembered, some 200 bytes each. */
const MAX_COMMITS = 10_000;

/** Which trees commits have, of those that were made or asked for here: no commit ever has another. */
export interface CommitTrees {
  /** The tree of a commit, asked of git if it is not known. */
  of(applicationId: string, commit: string): Promise<string>;
  /** The tree of a commit if it is known, else the id as it is. */
  orSelf(id: string): string;
  note(commit: string, tree: string): void;
}

/** @param ask asks git for the tree of a commit */
export function rememberTrees(
  ask: (applicationId: string, commit: string) => Promise<string>,
): CommitTrees {
  const known = new Map<string, string>();
  const note = (commit: string, tree: string): void => {
    const [oldest] = known.keys();
    if (known.size >= MAX_COMMITS && oldest !== undefined) known.delete(oldest);
    known.set(commit, tree);
  };
  return {
    of: async (applicationId, commit) => {
      const tree = known.get(commit) ?? (await ask(applicationId, commit));
      note(commit, tree);
      return tree;
    },
    orSelf: (id) => known.get(id) ?? id,
    note,
  };
}
