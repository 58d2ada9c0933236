import type { DeploymentOptions } from '../../domain/deployment-options.ts';
import { AppError } from '../../domain/errors.ts';
import { type BuildRow, findBuildById } from '../../store/builds.ts';
import type { Db } from '../../store/database.ts';
import {
  type BatchRow,
  type CommitRow,
  type DeploymentHead,
  type DeploymentRow,
  isOpenStep,
  type StepRow,
} from '../../store/deployments.ts';
import { findGitdeploysById, type GitdeployRow } from '../../store/gitdeploys.ts';
import { findInstallations, type InstallationRow } from '../../store/installations.ts';
import { leaseKey } from '../../store/leases.ts';
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

/** What every step of a phase works by. */
export interface PhaseHead {
  readonly phase: 'forward' | 'rollback';
  readonly deployment: DeploymentHead;
  readonly options: DeploymentOptions;
}

/** What is to be done in one phase, read once when it begins or is taken up again. */
export interface PhaseWork extends PhaseHead {
  readonly deployment: DeploymentRow;
  readonly batches: readonly BatchWork[];
}

/** Everything a deployment works on. */
export interface DeploymentWork extends PhaseWork {
  readonly phase: 'forward';
  readonly build: BuildRow;
}

export const allSteps = ({ batches }: PhaseWork): StepWork[] => batches.flatMap((b) => b.steps);

/** True as long as a step has not come to an end. */
export const isOpen = ({ step }: StepWork): boolean => isOpenStep(step);

/** The lease of a step's clone. */
export const keyOf = ({ server, gitdeploy }: Pick<StepWork, 'server' | 'gitdeploy'>): string =>
  leaseKey(server.id, gitdeploy.path);

/** The commit that each gitrepo branch gets. */
export type BranchCommits = ReadonlyMap<string, CommitRow>;

export const branchKey = (of: { gitrepoId: string; branch: string }): string =>
  `${of.gitrepoId}:${of.branch}`;

/** @throws {AppError} `conflict` if something that the plan names has been deleted since */
export async function loadDeploymentWork(
  db: Db,
  deployment: DeploymentRow,
): Promise<DeploymentWork> {
  const build = deployment.buildId === null ? null : await findBuildById(db, deployment.buildId);
  if (build === null) throw gone(`Build \`${deployment.buildName}\``);
  const batches = await loadBatches(db, deployment.batches);
  return { phase: 'forward', deployment, options: deployment.options, build, batches };
}

/** @throws {AppError} `conflict` if something that it names has been deleted since */
export async function loadRollbackWork(db: Db, deployment: DeploymentRow): Promise<PhaseWork> {
  const batches = await loadBatches(db, deployment.rollbackBatches);
  return { phase: 'rollback', deployment, options: deployment.options, batches };
}

/** The rows of clones, by id; installations by `<server id>:<gitdeploy id>`. */
export async function findClones(
  db: Db,
  of: { readonly serverIds: readonly string[]; readonly gitdeployIds: readonly string[] },
): Promise<{
  readonly serverOf: ReadonlyMap<string, ServerRow>;
  readonly gitdeployOf: ReadonlyMap<string, GitdeployRow>;
  readonly installationOf: ReadonlyMap<string, InstallationRow>;
}> {
  const [servers, gitdeploys, installations] = await Promise.all([
    findServersById(db, of.serverIds),
    findGitdeploysById(db, of.gitdeployIds),
    findInstallations(db, of),
  ]);
  return {
    serverOf: new Map(servers.map((s) => [s.id, s])),
    gitdeployOf: new Map(gitdeploys.map((g) => [g.id, g])),
    installationOf: new Map(installations.map((i) => [`${i.serverId}:${i.gitdeployId}`, i])),
  };
}

async function loadBatches(db: Db, batches: readonly BatchRow[]): Promise<BatchWork[]> {
  const items = await loadSteps(
    db,
    batches.flatMap((b) => b.steps),
  );
  const itemOf = new Map(items.map((item) => [item.step.id, item]));
  return batches.map((batch) => ({
    batch,
    steps: batch.steps.flatMap(({ id }) => itemOf.get(id) ?? []),
  }));
}

/**
 * The rows that steps speak of, as they are now.
 * @throws {AppError} `conflict` if one of them has been deleted since
 */
export async function loadSteps(db: Db, steps: readonly StepRow[]): Promise<StepWork[]> {
  if (steps.length === 0) return [];
  const { serverOf, gitdeployOf, installationOf } = await findClones(db, {
    serverIds: [...new Set(steps.map((s) => s.serverId))],
    gitdeployIds: [...new Set(steps.map((s) => s.gitdeployId))],
  });
  return steps.map((step) => {
    const server = serverOf.get(step.serverId);
    const gitdeploy = gitdeployOf.get(step.gitdeployId);
    const installation = installationOf.get(`${step.serverId}:${step.gitdeployId}`);
    if (server === undefined) throw gone(`Server \`${step.serverName}\``);
    if (gitdeploy === undefined) throw gone(`Gitdeploy \`${step.gitdeployName}\``);
    if (installation === undefined) {
      throw gone(`The clone of \`${step.gitdeployName}\` on \`${step.serverName}\``);
    }
    return { step, server, gitdeploy, installation };
  });
}

function gone(what: string): AppError {
  return new AppError(
    'conflict',
    `${what} was removed after the deployment was planned. Deploy again to have a new plan made.`,
  );
}
