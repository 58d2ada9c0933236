import { findGitrepoById } from '../store/gitrepos.ts';
import type { JobDependencies } from './dependencies.ts';
import { ensureBranch } from './gitrepo-branch.ts';
import type { JobHandler } from './handler.ts';

/** The branch that a new gitrepo has; others are made when a gitdeploy first needs them. */
const FIRST_BRANCH = 'master';

/** Makes a gitrepo in Muster's own store: its first commit, without files. */
export function createGitrepoHandler(dependencies: JobDependencies): JobHandler<'create_gitrepo'> {
  return {
    run: async ({ gitrepoId }, context) => {
      const gitrepo = await findGitrepoById(dependencies.database.db, gitrepoId);
      if (gitrepo === null) return { outcome: 'succeeded', result: { deleted: true } };
      const { headCommit } = await ensureBranch(dependencies, gitrepo, FIRST_BRANCH);
      await context.emit('gitrepo_created', { gitrepo: gitrepo.name, head_commit: headCommit });
      return {
        outcome: 'succeeded',
        result: { gitrepo: gitrepo.name, branch: FIRST_BRANCH, head_commit: headCommit },
      };
    },
  };
}
