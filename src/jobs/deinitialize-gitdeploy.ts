import { deinitializeAnswerSchema, deinitializeScript } from '../remote/deinitialize.ts';
import { deinitializeReleasesScript } from '../remote/releases/deinitialize.ts';
import { deleteInstallation, findInstallation } from '../store/installations.ts';
import { runOperation } from '../transport/run-operation.ts';
import type { JobDependencies } from './dependencies.ts';
import { endRuns } from './deployment/run-actions.ts';
import { gitDirOf } from './deployment/switch-clone.ts';
import type { JobHandler } from './handler.ts';
import { requireGitdeployById } from './initialize-gitdeploy.ts';
import { onEachServer } from './on-each-server.ts';

/** Removes what initializing made on servers, and nothing else. */
export function deinitializeGitdeployHandler(
  dependencies: JobDependencies,
): JobHandler<'deinitialize_gitdeploy'> {
  const { config, database } = dependencies;
  return {
    run: async ({ gitdeployId, serverIds }, context) => {
      const gitdeploy = await requireGitdeployById(database.db, gitdeployId);
      const servers = await onEachServer(dependencies, context, {
        what: `Deinitializing \`${gitdeploy.name}\``,
        serverIds,
        path: gitdeploy.path,
        work: async ({ server, connection, signal }) => {
          const installation = await findInstallation(database.db, {
            gitdeployId,
            serverId: server.id,
          });
          if (installation === null) return { status: 'not_initialized' };
          const build =
            gitdeploy.switchMode === 'atomic' ? deinitializeReleasesScript : deinitializeScript;
          const script = build({
            path: connection.pathOn(gitdeploy.path),
            installationId: installation.id,
          });
          // Runs that a lost worker has left are root's where the server says `become`; the clone's owner is not.
          await endRuns(
            { connection, gitDir: gitDirOf(connection, gitdeploy), fence: null },
            signal,
          );
          const answer = await runOperation(connection, script, deinitializeAnswerSchema, {
            timeoutMs: config.stepTimeoutMs,
            signal,
          });
          await deleteInstallation(database.db, installation.id);
          return { status: 'deinitialized', left: answer.left };
        },
      });
      return { outcome: 'succeeded', result: { gitdeploy: gitdeploy.name, servers } };
    },
  };
}
