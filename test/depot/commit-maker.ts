import { type TarEntry, tarGz } from './archive-builders.ts';
import type { DepotFixture } from './fixtures.ts';

/** Who makes a test's commits, with what breaks a commit that does not guard against it. */
export const AUTHOR = { name: 'Ü <b>, "c"', email: 'u@example.com' };
export const DATE = new Date('2026-03-01T12:00:00.999Z');

/** Makes what a test wants to have in its depot. */
export interface CommitMaker {
  /** @returns the id of the tree of a new build */
  storeTree(entries: readonly TarEntry[]): Promise<string>;
  commit(tree: string, parent: string | null, message?: string): Promise<string>;
}

export function makeCommitsIn({ depot, applicationId, spool }: DepotFixture): CommitMaker {
  let builds = 0;
  return {
    storeTree: async (entries) => {
      builds += 1;
      const { tree } = await depot.ingestBuild({
        applicationId,
        buildId: `build-${builds}`,
        archivePath: await spool(tarGz(entries)),
        fileType: 'tar.gz',
      });
      return tree;
    },
    commit: (tree, parent, message = 'Deploy 1.2.3') =>
      depot.commitTree({ applicationId, tree, parent, message, author: AUTHOR, date: DATE }),
  };
}
