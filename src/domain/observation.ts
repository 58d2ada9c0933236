import type { Drift } from './census.ts';

/** What Muster knows of a clone that it has left on a server. */
export interface LeftClone {
  readonly installationId: string;
  readonly branch: string;
  /** HEAD as Muster left it; not a commit of the gitrepo where local changes were merged. */
  readonly headCommit: string;
  /** The commit of the gitrepo that is in it. */
  readonly deployedCommit: string;
}

/** What was seen where the clone should be. */
export interface SeenClone {
  /** The installation that the clone says it is; null if there is no clone. */
  readonly installation: string | null;
  readonly head: string | null;
  /** Null while HEAD is detached. */
  readonly branch: string | null;
  /** The newest commit of the gitrepo that HEAD contains; null if nobody can tell. */
  readonly base: string | null;
  /** Whether tracked files differ from HEAD; null if nobody can tell. */
  readonly modified: boolean | null;
}

/** How a clone stands to what Muster left. */
export interface Judgement {
  readonly drift: Drift;
  /** The commit of the gitrepo that is on the server now; null if the clone is gone. */
  readonly commit: string | null;
}

/**
 * Compares what is on a server with what Muster left there. A clone that was moved by hand says by `base` what is
 * in it: the commit that was returned to, also where local commits stand on it. Source: API.md, "Applications".
 */
export function judgeClone(left: LeftClone, seen: SeenClone): Judgement {
  if (seen.installation !== left.installationId) return { drift: 'moved', commit: null };
  const commit = seen.base ?? left.deployedCommit;
  if (seen.head !== left.headCommit || seen.branch !== left.branch) {
    return { drift: 'moved', commit };
  }
  if (seen.modified === null) return { drift: 'unknown', commit };
  return { drift: seen.modified ? 'modified' : 'none', commit };
}
