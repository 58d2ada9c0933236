import type { Drift } from './census.ts';

/** What Muster knows of a clone that it has made on a server. */
export interface LeftClone {
  readonly installationId: string;
  readonly branch: string;
}

/** What was seen where the clone should be. */
export interface SeenClone {
  /** The installation that the clone says it is; null if there is no clone. */
  readonly installation: string | null;
  readonly head: string | null;
  /** Null while HEAD is detached. */
  readonly branch: string | null;
  /** HEAD as Muster left it; not a commit of the gitrepo where local changes were merged. */
  readonly left: string | null;
  /** The commit of the gitrepo that Muster brought last; without local changes HEAD was left at it. */
  readonly deployed: string | null;
  /** The newest commit of the gitrepo that HEAD contains; null if nobody can tell. */
  readonly base: string | null;
  /** Whether the files differ from those that Muster brought; null if nobody can tell. */
  readonly modified: boolean | null;
}

/** How a clone stands to what Muster left. */
export interface Judgement {
  readonly drift: Drift;
  /** What HEAD is now; null if the clone is gone. */
  readonly head: string | null;
  /** The newest commit of the gitrepo in it; null if nobody can tell. */
  readonly base: string | null;
  /** Whether what is there is that commit, by itself or as Muster merged it; false if HEAD was made by others. */
  readonly isKnown: boolean;
}

/** Compares what is on a server with what Muster left there. Source: API.md, "Applications". */
export function judgeClone(clone: LeftClone, seen: SeenClone): Judgement {
  const { head, base, left, deployed, branch } = seen;
  if (seen.installation !== clone.installationId || head === null) {
    return { drift: 'moved', head: null, base: null, isKnown: false };
  }
  const isKnown = base !== null && (head === base || head === left);
  const found = { head, base, isKnown };
  const isMoved = (head !== left && head !== deployed) || branch !== clone.branch;
  if (isMoved) return { drift: 'moved', ...found };
  if (seen.modified === null) return { drift: 'unknown', ...found };
  return { drift: seen.modified ? 'modified' : 'none', ...found };
}
