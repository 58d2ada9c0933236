import { AppError } from '../domain/errors.ts';
import type { JobData } from '../queue/job-kinds.ts';
import { findBuildById } from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import { findGitdeploysById } from '../store/gitdeploys.ts';
import { findInstallations } from '../store/installations.ts';
import { findServersById } from '../store/servers.ts';
import type { JobDependencies } from './dependencies.ts';
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
  const [servers, gitdeploys, installations] = await Promise.all([
    findServersById(db, serverIds),
    findGitdeploysById(db, gitdeployIds),
    findInstallations(db, { serverIds, gitdeployIds }),
  ]);
  const serverOf = new Map(servers.map((s) => [s.id, s]));
  const gitdeployOf = new Map(gitdeploys.map((g) => [g.id, g]));
  const wanted = new Set(
    targets.flatMap((t) => t.serverIds.map((serverId) => `${serverId}:${t.gitdeployId}`)),
  );
  return installations.flatMap((installation) => {
    const server = serverOf.get(installation.serverId);
    const gitdeploy = gitdeployOf.get(installation.gitdeployId);
    const isWanted = wanted.has(`${installation.serverId}:${installation.gitdeployId}`);
    if (server === undefined || gitdeploy === undefined || !isWanted) return [];
    return [{ server, gitdeploy, installation }];
  });
}
