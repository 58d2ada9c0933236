import { createReadStream } from 'node:fs';
import { AppError } from '../domain/errors.ts';
import { installationId } from '../domain/installation-id.ts';
import { initializeAnswerSchema, initializeScript } from '../remote/initialize.ts';
import { initializeReleasesScript } from '../remote/releases/initialize.ts';
import { findApplicationById } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import { findGitdeploysById, type GitdeployRow } from '../store/gitdeploys.ts';
import { findGitrepoById } from '../store/gitrepos.ts';
import { insertInstallation } from '../store/installations.ts';
import { runOperation } from '../transport/run-operation.ts';
import type { JobDependencies } from './dependencies.ts';
import { ensureBranch } from './gitrepo-branch.ts';
import type { JobHandler } from './handler.ts';
import { onEachServer } from './on-each-server.ts';
import { requireNoNesting } from './require-no-nesting.ts';

/** Makes the clone of a gitdeploy on servers, at the head of its branch. */
export function initializeGitdeployHandler(
  dependencies: JobDependencies,
): JobHandler<'initialize_gitdeploy'> {
  const { config, database, depot } = dependencies;
  return {
    run: async ({ gitdeployId, serverIds }, context) => {
      const gitdeploy = await requireGitdeployById(database.db, gitdeployId);
      const [application, gitrepo] = await Promise.all([
        findApplicationById(database.db, gitdeploy.applicationId),
        findGitrepoById(database.db, gitdeploy.gitrepoId),
      ]);
      if (application === null || gitrepo === null) throw deletedMeanwhile(gitdeploy.name);
      const head = await ensureBranch(dependencies, gitrepo, gitdeploy.branch);
      const pack = await depot.preparePack({
        applicationId: gitdeploy.applicationId,
        want: head.headCommit,
        have: null,
        form: 'thin',
        signal: context.signal,
      });
      try {
        const servers = await onEachServer(dependencies, context, {
          what: `Initializing \`${gitdeploy.name}\``,
          serverIds,
          path: gitdeploy.path,
          work: async ({ server, connection, signal }) => {
            const { name } = application;
            await requireNoNesting(dependencies, { server, application: name, gitdeploy });
            const id = installationId(gitdeploy.id, server.id);
            const build =
              gitdeploy.switchMode === 'atomic' ? initializeReleasesScript : initializeScript;
            const script = build({
              path: connection.pathOn(gitdeploy.path),
              branch: gitdeploy.branch,
              commit: head.headCommit,
              installationId: id,
              gitrepo: `${application.name}/${gitrepo.name}`,
              gitignore: gitdeploy.options.gitignore,
            });
            const answer = await runOperation(connection, script, initializeAnswerSchema, {
              stdin: () => createReadStream(pack.path),
              timeoutMs: config.stepTimeoutMs,
              signal,
            });
            // A clone that was there already keeps what its row says, unless the row itself was lost.
            await insertInstallation(database.db, {
              id,
              gitdeployId: gitdeploy.id,
              serverId: server.id,
              deployedBuildId: head.committedBuildId,
              commit: head.headCommit,
            });
            return {
              status: 'initialized',
              already: answer.state === 'already',
              head: answer.head,
            };
          },
        });
        return { outcome: 'succeeded', result: { gitdeploy: gitdeploy.name, servers } };
      } finally {
        await pack.release();
      }
    },
  };
}

/** @throws {AppError} `not_found` if it was deleted after the job was started */
export async function requireGitdeployById(db: Db, id: string): Promise<GitdeployRow> {
  const [gitdeploy] = await findGitdeploysById(db, [id]);
  if (gitdeploy === undefined) throw deletedMeanwhile('this job works on');
  return gitdeploy;
}

function deletedMeanwhile(name: string): AppError {
  return new AppError('not_found', `The gitdeploy ${name} was deleted before the job began.`);
}
