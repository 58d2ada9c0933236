import { toErrorBody } from '../domain/errors.ts';
import { parseGitUri } from '../domain/git-uri.ts';
import {
  deleteUnusedGitrepo,
  findGitrepoById,
  findGitrepoRemote,
  type GitrepoRow,
  setGitrepoUri,
} from '../store/gitrepos.ts';
import { openProvider } from '../transport/providers/open.ts';
import type { JobDependencies } from './dependencies.ts';
import { ensureBranch } from './gitrepo-branch.ts';
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
      const branch = gitrepo.existing
        ? await findDefaultBranch(dependencies, context, gitrepo)
        : FIRST_BRANCH;
      const head = await ensureBranch(dependencies, gitrepo, branch, context.signal);
      await context.emit('gitrepo_created', {
        gitrepo: gitrepo.name,
        head_commit: head.headCommit,
      });
      if (uri !== null && !gitrepo.existing) {
        await pushFirstCommit(dependencies, context, gitrepo, head.headCommit);
      }
      return {
        outcome: 'succeeded',
        result: { gitrepo: gitrepo.name, branch, head_commit: head.headCommit, uri },
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

/** An empty repository has none; then Muster begins its own. */
async function findDefaultBranch(
  dependencies: JobDependencies,
  context: JobContext,
  { id, applicationId }: GitrepoRow,
): Promise<string> {
  const remote = await findRemote(dependencies, id);
  if (remote === null) return FIRST_BRANCH;
  const { depot } = dependencies;
  const { signal } = context;
  await depot.createRepository(applicationId);
  const { heads, defaultBranch } = await withPatience(signal, () =>
    depot.listRemoteHeads({ applicationId, remote, signal }),
  );
  if (defaultBranch !== null && heads.has(defaultBranch)) return defaultBranch;
  return heads.has(FIRST_BRANCH) ? FIRST_BRANCH : ([...heads.keys()].sort()[0] ?? FIRST_BRANCH);
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
    await dependencies.depot.pushCommit({
      applicationId: gitrepo.applicationId,
      remote,
      branch: FIRST_BRANCH,
      commit,
      signal,
    });
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = toErrorBody(error);
    await context.emit('warning', {
      code,
      message: `The repository was created, but its first commit could not be pushed. ${message}`,
    });
  }
}
