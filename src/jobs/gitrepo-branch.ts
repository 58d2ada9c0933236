import type { Depot } from '../depot/depot.ts';
import { EMPTY_TREE } from '../depot/git.ts';
import { AppError } from '../domain/errors.ts';
import type { Database } from '../store/database.ts';
import {
  findBranch,
  type GitrepoBranchRow,
  type GitrepoRow,
  insertBranch,
} from '../store/gitrepos.ts';

/** Who Muster's commits are by. */
export const COMMIT_AUTHOR = { name: 'Muster', email: 'muster@localhost' } as const;

/**
 * Finds a branch of a gitrepo, or makes it: its first commit has no files, and is the same however often and by
 * whomever it is made.
 */
export async function ensureBranch(
  { database, depot }: { database: Database; depot: Depot },
  gitrepo: Pick<GitrepoRow, 'id' | 'applicationId' | 'name' | 'createdAt'>,
  branch: string,
): Promise<GitrepoBranchRow> {
  const present = await findBranch(database.db, gitrepo.id, branch);
  if (present !== null) return present;
  const { applicationId } = gitrepo;
  await depot.createRepository(applicationId);
  const commit = await depot.commitTree({
    applicationId,
    tree: EMPTY_TREE,
    parent: null,
    message: `Begin ${gitrepo.name}\n`,
    author: COMMIT_AUTHOR,
    date: gitrepo.createdAt,
  });
  await depot.keepHead({ applicationId, gitrepoId: gitrepo.id, branch, commit });
  await insertBranch(database.db, {
    gitrepoId: gitrepo.id,
    name: branch,
    headCommit: commit,
    headTree: EMPTY_TREE,
  });
  const made = await findBranch(database.db, gitrepo.id, branch);
  if (made === null)
    throw new AppError('internal', `Gitrepo ${gitrepo.name} was deleted meanwhile.`);
  return made;
}
