import type { Version } from '../builds/versions.ts';

/** One way to use a program; of several the one that turns out fastest counts. */
export interface Way {
  readonly name: string;
  /** What its users have done before, too: not measured. */
  readonly prepare?: (version: Version) => Promise<void>;
  /** Brings a version to all servers. @throws if that fails on any of them */
  readonly deliver: (version: Version) => Promise<void>;
}

/** A program that brings versions of a build to servers: Muster, or one that it is compared with. */
export interface Contestant {
  readonly name: string;
  /** How it was set up, in a sentence, with its version. */
  readonly about: string;
  /** For servers that have nothing yet. */
  readonly first: Way;
  /** For servers that have a version; each of these ways can follow each other one. */
  readonly updates: readonly Way[];
  /** Takes everything off the servers, so that `first` can be done again. */
  readonly clear: () => Promise<void>;
  /** Where it puts a build on every server. */
  readonly path: () => string;
}

/** Runs something for each item at once and waits for all. @throws the first failure, once nothing is under way any more */
export async function atOnce<T>(
  items: readonly T[],
  run: (item: T) => Promise<unknown>,
): Promise<void> {
  const ended = await Promise.allSettled(items.map(run));
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
