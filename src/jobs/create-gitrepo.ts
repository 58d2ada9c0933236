import { AppError, toErrorBody } from '../domain/errors.ts';
import { parseGitUri } from '../domain/git-uri.ts';
import {
  deleteUnusedGitrepo,
  findGitrepoById,
  findGitrepoRemote,
  type GitrepoBranchRow,
  type GitrepoRow,
  setGitrepoUri,
} from '../store/gitrepos.ts';
import { openProvider } from '../transport/providers/open.ts';
import type { JobDependencies } from './dependencies.ts';
import { beginBranch, ensureBranch } from './gitrepo-branch.ts';
import { findRemote, toProviderAccess, withPatience } from './gitrepo-remote.ts';
import type { JobContext, JobHandler } from './handler.ts';

/** The branch that a new gitrepo has; others are made when a gitdeploy first needs them. */
const FIRST_BRANCH = 'master';

/**
 * Makes a gitrepo: in Muster's own store, or at a git provider, or from a repository that is there already, whose
 * history is then gone on from. One that comes to nothing is removed again, so that its name is free for the next try.
 */
export function createGitrepoHandler(dependencies: JobDependencies): JobHandler<'create_gitrepo'> {
  const { database } = dependencies;
  return {
    run: async ({ gitrepoId }, context) => {
      const gitrepo = await findGitrepoById(database.db, gitrepoId);
      if (gitrepo === null) return { outcome: 'succeeded', result: { deleted: true } };
      const uri = gitrepo.uri ?? (await createAtProvider(dependencies, context, gitrepo));
      // What was just created is empty; that it cannot be reached by git yet must not undo it.
      const head = gitrepo.existing
        ? await adopt(dependencies, context, gitrepo)
        : await beginBranch(dependencies, gitrepo, FIRST_BRANCH);
      await context.emit('gitrepo_created', {
        gitrepo: gitrepo.name,
        head_commit: head.headCommit,
      });
      if (uri !== null && !gitrepo.existing) {
        await pushFirstCommit(dependencies, context, gitrepo, head.headCommit);
      }
      return {
        outcome: 'succeeded',
        result: { gitrepo: gitrepo.name, branch: head.name, head_commit: head.headCommit, uri },
      };
    },
    failed: async (tx, { gitrepoId }) => {
      const gitrepo = await findGitrepoById(tx, gitrepoId);
      // What was created at the provider is not lost sight of.
      if (gitrepo === null || (gitrepo.uri !== null && !gitrepo.existing)) return;
      await deleteUnusedGitrepo(tx, gitrepoId);
    },
  };
}

/** @returns where it is, by the way that Muster will reach it; null if it has no provider */
async function createAtProvider(
  { config, database }: JobDependencies,
  context: JobContext,
  gitrepo: GitrepoRow,
): Promise<string | null> {
  const row = await findGitrepoRemote(database.db, gitrepo.id);
  const access = row === null ? null : toProviderAccess(row, config.secretKey);
  if (row === null || access === null) return null;
  const { sshUri, httpUri } = await withPatience(context.signal, () =>
    openProvider(access).createRepository(
      {
        name: gitrepo.name,
        description: `Commits of Muster's gitrepo ${gitrepo.name} (${gitrepo.id})`,
      },
      context.signal,
    ),
  );
  const { uri } = parseGitUri(row.keypair === null ? httpUri : sshUri);
  await setGitrepoUri(database.db, gitrepo.id, uri);
  await context.emit('repository_created', { gitprovider: access.name, uri });
  return uri;
}

/** Takes in the branch that the repository's HEAD names. In an empty one Muster begins its own. */
async function adopt(
  dependencies: JobDependencies,
  context: JobContext,
  gitrepo: GitrepoRow,
): Promise<GitrepoBranchRow> {
  const { depot } = dependencies;
  const { signal } = context;
  const { id, applicationId } = gitrepo;
  const remote = await findRemote(dependencies, id);
  if (remote === null) return beginBranch(dependencies, gitrepo, FIRST_BRANCH);
  await depot.createRepository(applicationId);
  const { heads, defaultBranch } = await withPatience(signal, () =>
    depot.listRemoteHeads({ applicationId, remote, signal }),
  );
  const branch = [defaultBranch, FIRST_BRANCH, ...[...heads.keys()].sort()].find(
    (name) => name !== null && heads.has(name),
  );
  return ensureBranch(dependencies, gitrepo, branch ?? FIRST_BRANCH, signal);
}

/**
 * Shows early whether Muster may push. If it may not, the repository is there all the same: the job warns, and the
 * first deployment tries again.
 */
async function pushFirstCommit(
  dependencies: JobDependencies,
  context: JobContext,
  gitrepo: GitrepoRow,
  commit: string,
): Promise<void> {
  const { signal } = context;
  try {
    const remote = await findRemote(dependencies, gitrepo.id);
    if (remote === null) return;
    const outcome = await dependencies.depot.pushCommit({
      applicationId: gitrepo.applicationId,
      remote,
      branch: FIRST_BRANCH,
      commit,
      signal,
    });
    if (outcome === 'moved') {
      throw new AppError(
        'gitrepo_diverged',
        `Its branch \`${FIRST_BRANCH}\` has commits already, which the provider may make by a template. Delete this gitrepo and create it again with \`existing=true\` and \`uri=${remote.uri}\`.`,
      );
    }
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = toErrorBody(error);
    await context.emit('warning', {
      code,
      message: `The repository was created, but its first commit could not be pushed. ${message}`,
    });
  }
}
