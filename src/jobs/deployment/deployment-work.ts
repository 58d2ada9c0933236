import type { DeploymentOptions } from '../../domain/deployment-options.ts';
import { AppError } from '../../domain/errors.ts';
import { type BuildRow, findBuildById } from '../../store/builds.ts';
import type { Db } from '../../store/database.ts';
import type { BatchRow, CommitRow, DeploymentRow, StepRow } from '../../store/deployments.ts';
import { findGitdeploysById, type GitdeployRow } from '../../store/gitdeploys.ts';
import { findInstallations, type InstallationRow } from '../../store/installations.ts';
import { findServersById, type ServerRow } from '../../store/servers.ts';

/** A step with the rows it speaks of. */
export interface StepWork {
  readonly step: StepRow;
  readonly server: ServerRow;
  readonly gitdeploy: GitdeployRow;
  readonly installation: InstallationRow;
}

/** A batch with its steps. */
export interface BatchWork {
  readonly batch: BatchRow;
  readonly steps: readonly StepWork[];
}

/** Everything a deployment works on, read once when it begins or is taken up again. */
export interface DeploymentWork {
  readonly deployment: DeploymentRow;
  readonly options: DeploymentOptions;
  readonly build: BuildRow;
  readonly batches: readonly BatchWork[];
}

/** The commit that each gitrepo branch gets. */
export type BranchCommits = ReadonlyMap<string, CommitRow>;

export const branchKey = (of: { gitrepoId: string; branch: string }): string =>
  `${of.gitrepoId}:${of.branch}`;

/** @throws {AppError} `conflict` if something that the plan names has been deleted since */
export async function loadDeploymentWork(
  db: Db,
  deployment: DeploymentRow,
): Promise<DeploymentWork> {
  const steps = deployment.batches.flatMap((b) => b.steps);
  const serverIds = [...new Set(steps.map((s) => s.serverId))];
  const gitdeployIds = [...new Set(steps.map((s) => s.gitdeployId))];
  const [build, servers, gitdeploys, installations] = await Promise.all([
    deployment.buildId === null ? null : findBuildById(db, deployment.buildId),
    findServersById(db, serverIds),
    findGitdeploysById(db, gitdeployIds),
    findInstallations(db, { serverIds, gitdeployIds }),
  ]);
  if (build === null) throw gone(`Build \`${deployment.buildName}\``);
  const serverOf = new Map(servers.map((s) => [s.id, s]));
  const gitdeployOf = new Map(gitdeploys.map((g) => [g.id, g]));
  const installationOf = new Map(installations.map((i) => [`${i.serverId}:${i.gitdeployId}`, i]));
  const withRows = (step: StepRow): StepWork => {
    const server = serverOf.get(step.serverId);
    const gitdeploy = gitdeployOf.get(step.gitdeployId);
    const installation = installationOf.get(`${step.serverId}:${step.gitdeployId}`);
    if (server === undefined) throw gone(`Server \`${step.serverName}\``);
    if (gitdeploy === undefined) throw gone(`Gitdeploy \`${step.gitdeployName}\``);
    if (installation === undefined) {
      throw gone(`The clone of \`${step.gitdeployName}\` on \`${step.serverName}\``);
    }
    return { step, server, gitdeploy, installation };
  };
  return {
    deployment,
    options: deployment.options,
    build,
    batches: deployment.batches.map((batch) => ({ batch, steps: batch.steps.map(withRows) })),
  };
}

function gone(what: string): AppError {
  return new AppError(
    'conflict',
    `${what} was removed after the deployment was planned. Deploy again to have a new plan made.`,
  );
}
