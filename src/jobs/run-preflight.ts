import { AppError } from '../domain/errors.ts';
import type { JobData } from '../queue/job-kinds.ts';
import { findBuildById } from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import type { JobDependencies } from './dependencies.ts';
import { findClones } from './deployment/deployment-work.ts';
import { findProblems, type PreflightTarget } from './deployment/preflight.ts';
import type { JobHandler } from './handler.ts';

/** Looks whether a build can be deployed, as a deployment does first, and changes nothing. */
export function preflightHandler(dependencies: JobDependencies): JobHandler<'preflight'> {
  const { db } = dependencies.database;
  return {
    run: async (data, { signal }) => {
      const build = await findBuildById(db, data.buildId);
      if (build === null) {
        throw new AppError('conflict', 'The build was deleted after the deployment was planned.');
      }
      const { concurrency } = data;
      const targets = await findTargets(db, data);
      const problems = await findProblems(dependencies, { targets, build, concurrency, signal });
      const servers = new Set(targets.map(({ server }) => server.id)).size;
      return { outcome: 'succeeded', result: { servers, problems } };
    },
  };
}

/** What has been removed since is not looked at. */
async function findTargets(db: Db, { targets }: JobData<'preflight'>): Promise<PreflightTarget[]> {
  const serverIds = [...new Set(targets.flatMap((t) => t.serverIds))];
  const gitdeployIds = targets.map((t) => t.gitdeployId);
  const { serverOf, gitdeployOf, installationOf } = await findClones(db, {
    serverIds,
    gitdeployIds,
  });
  return targets.flatMap(({ gitdeployId, serverIds: wanted }) =>
    wanted.flatMap((serverId) => {
      const server = serverOf.get(serverId);
      const gitdeploy = gitdeployOf.get(gitdeployId);
      const installation = installationOf.get(`${serverId}:${gitdeployId}`);
      if (server === undefined || gitdeploy === undefined || installation === undefined) return [];
      return [{ server, gitdeploy, installation }];
    }),
  );
}
