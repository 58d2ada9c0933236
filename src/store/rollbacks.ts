import type { ErrorBody } from '../domain/errors.ts';
import { planRollback, type RollbackPlan } from '../domain/rollback-plan.ts';
import type { Db } from './database.ts';
import {
  cancelOpenWork,
  closeOpenWork,
  type DeploymentRow,
  insertRollback,
  moveDeployment,
  reopenWork,
} from './deployments.ts';
import { findInstallations, type InstallationRow } from './installations.ts';

/**
 * Turns a deployment round: what it has left open is closed, and the steps that take it back are stored, once for
 * all. A rollback that failed before is opened again where it stands. Lock the deployment first.
 * @param o.error why the deployment takes itself back, or null if a user asked for it
 */
export async function openRollback(
  tx: Db,
  deployment: DeploymentRow,
  o: { readonly error: ErrorBody | null },
): Promise<RollbackPlan> {
  const { id } = deployment;
  if (o.error === null) await cancelOpenWork(tx, id);
  else await closeOpenWork(tx, id, o.error);
  const steps = deployment.batches.flatMap((b) => b.steps);
  const present = await findInstallations(tx, {
    serverIds: [...new Set(steps.map((s) => s.serverId))],
    gitdeployIds: [...new Set(steps.map((s) => s.gitdeployId))],
  });
  const isOurs = await ownership(tx, deployment, present);
  const plan = planRollback(
    deployment.batches,
    present.map((i) => ({ ...i, isOurs: isOurs(i) })),
  );
  if (deployment.rollbackBatches.length === 0) {
    await insertRollback(tx, deployment, await withPresentBuilds(tx, plan.batches));
  } else {
    await reopenWork(tx, id, 'rollback');
    const ours = new Set(present.filter(isOurs).map((i) => `${i.serverId}:${i.gitdeployId}`));
    // What another deployment has changed since is not for this one to take away.
    const gone = deployment.rollbackBatches
      .flatMap((b) => b.steps)
      .filter((s) => s.status !== 'succeeded' && !ours.has(`${s.serverId}:${s.gitdeployId}`));
    await tx.step.deleteMany({ where: { id: { in: gone.map((s) => s.id) } } });
  }
  await moveDeployment(tx, id, {
    from: ['running', 'paused', 'succeeded', 'failed', 'cancelled'],
    to: 'rolling_back',
    ...(o.error === null ? {} : { error: o.error }),
  });
  await tx.deployment.update({
    where: { id },
    data: { pauseRequestedAt: null, cancelRequestedAt: null },
  });
  return plan;
}

/**
 * Says whether a server has what a deployment brought: by this deployment, or as the same tree again, as after a later
 * deployment that was taken back.
 */
async function ownership(
  tx: Db,
  deployment: DeploymentRow,
  present: readonly InstallationRow[],
): Promise<(installation: InstallationRow) => boolean> {
  const commits = [...new Set(present.map((i) => i.deployedCommit))];
  const rows = await tx.deploymentCommit.findMany({
    where: { commit: { in: commits } },
    select: { commit: true, tree: true },
    distinct: ['commit'],
  });
  const treeOf = new Map(rows.map(({ commit, tree }) => [commit, tree]));
  const trees = new Map(deployment.commits.map(({ commit, tree }) => [commit, tree]));
  const brought = new Map(
    deployment.batches.flatMap((b) =>
      b.steps
        .filter((s) => s.status === 'succeeded')
        .map((s) => [`${s.serverId}:${s.gitdeployId}`, trees.get(s.toCommit ?? '')] as const),
    ),
  );
  return ({ serverId, gitdeployId, deploymentId, deployedCommit }) => {
    if (deploymentId === deployment.id) return true;
    const tree = brought.get(`${serverId}:${gitdeployId}`);
    return tree !== undefined && tree === treeOf.get(deployedCommit);
  };
}

/** Builds may have been deleted since; what was made of them is still in the history of the gitrepo. */
async function withPresentBuilds(
  tx: Db,
  batches: RollbackPlan['batches'],
): Promise<RollbackPlan['batches']> {
  const ids = new Set(batches.flatMap((b) => b.steps.map((s) => s.toBuildId)));
  ids.delete(null);
  const builds = await tx.build.findMany({
    where: { id: { in: [...ids].filter((id) => id !== null) } },
    select: { id: true },
  });
  const present = new Set<string | null>(builds.map(({ id }) => id));
  return batches.map((batch) => ({
    ...batch,
    steps: batch.steps.map((step) => ({
      ...step,
      toBuildId: present.has(step.toBuildId) ? step.toBuildId : null,
    })),
  }));
}

/** The newest build of an application that has a package with this tree, or null. */
export async function findBuildOfTree(
  db: Db,
  applicationId: string,
  tree: string,
): Promise<string | null> {
  const row = await db.package.findFirst({
    where: { tree, build: { applicationId, state: 'stored' } },
    orderBy: { buildId: 'desc' },
    select: { buildId: true },
  });
  return row?.buildId ?? null;
}
