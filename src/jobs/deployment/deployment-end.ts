import { counted } from '../../domain/counted.ts';
import { AppError, type ErrorBody, toErrorBody } from '../../domain/errors.ts';
import type { Db } from '../../store/database.ts';
import {
  cancelOpenWork,
  closeOpenWork,
  type DeploymentRow,
  findDeployment,
  lockDeployment,
  moveDeployment,
} from '../../store/deployments.ts';
import { appendEvent } from '../../store/events.ts';
import { endJoinedJobs } from '../../store/joined-jobs.ts';
import { releaseHolder } from '../../store/leases.ts';
import { recordMissed } from '../../store/missed.ts';

/** Who a deployment's leases are held by. */
export const leaseHolder = (deploymentId: string): string => `deployment:${deploymentId}`;

/** The deployment that a holder of leases stands for; what is none stays as it is. */
export const deploymentOf = (holder: string): string => holder.replace(/^deployment:/, '');

const UNDER_WAY = ['queued', 'preparing', 'running', 'paused'] as const;

/** Ends a deployment whose job has succeeded: all is deployed, or all is put back. */
export async function recordSuccess(tx: Db, deploymentId: string): Promise<void> {
  await endJoinedJobs(tx, deploymentId);
  const deployment = await lockDeployment(tx, deploymentId);
  if (deployment === null) return;
  const isBack = deployment.status === 'rolling_back';
  const hasEnded = await endAs(tx, deploymentId, {
    from: isBack ? ['rolling_back'] : UNDER_WAY,
    to: isBack ? 'rolled_back' : 'succeeded',
  });
  if (hasEnded && !isBack) await recordMissed(tx, deploymentId);
}

/** Ends a deployment whose job has failed. One that failed, and has put everything back, is rolled back. */
export async function recordFailure(tx: Db, deploymentId: string, error: ErrorBody): Promise<void> {
  await endJoinedJobs(tx, deploymentId);
  await lockDeployment(tx, deploymentId);
  const deployment = await findDeployment(tx, deploymentId);
  if (deployment === null) return;
  if (deployment.status === 'rolling_back') {
    const isBack =
      error.code === 'deployment_failed' &&
      takesItselfBack(deployment) &&
      deployment.rollbackBatches.every((b) => b.status === 'succeeded');
    if (!isBack) await closeOpenWork(tx, deploymentId, error);
    await endAs(tx, deploymentId, {
      from: ['rolling_back'],
      to: isBack ? 'rolled_back' : 'failed',
      error,
    });
    return;
  }
  await closeOpenWork(tx, deploymentId, error);
  await endAs(tx, deploymentId, { from: UNDER_WAY, to: 'failed', error });
}

/** Ends a deployment that a user has stopped, or that another one has taken over from. */
export async function recordCancel(tx: Db, deploymentId: string): Promise<void> {
  await endJoinedJobs(tx, deploymentId);
  const deployment = await lockDeployment(tx, deploymentId);
  await cancelOpenWork(tx, deploymentId);
  const by = deployment?.supersededById ?? null;
  const error =
    by === null ? {} : { error: toErrorBody(supersededBy(by, deployment?.buildName ?? '')) };
  await endAs(tx, deploymentId, { from: UNDER_WAY, to: 'cancelled', ...error });
}

function supersededBy(id: string, buildName: string): AppError {
  return new AppError(
    'superseded',
    `The deployment of build \`${buildName}\` has ended early, as deployment ${id} took over. Servers that were done keep what they have until that one comes to them.`,
    { details: { superseded_by: id } },
  );
}

/** @returns false if it had ended before */
async function endAs(
  tx: Db,
  id: string,
  end: {
    from: Parameters<typeof moveDeployment>[2]['from'];
    to: Parameters<typeof moveDeployment>[2]['to'];
    error?: ErrorBody;
  },
): Promise<boolean> {
  // Also those of a worker that died: nobody comes back for them.
  await releaseHolder(tx, leaseHolder(id));
  if (!(await moveDeployment(tx, id, { ...end, finishedAt: new Date() }))) return false;
  const { to: status, error } = end;
  await appendEvent(tx, {
    jobId: null,
    deploymentId: id,
    kind: 'deployment',
    data: { status, ...(error === undefined ? {} : { error }) },
  });
  return true;
}

/** True if the rollback was begun by the deployment's own failure (`on_failure=rollback`), and not by a user. */
export function takesItselfBack({ error, finishedAt }: DeploymentRow): boolean {
  return error !== null && finishedAt === null;
}

/** What a deployment that failed says about itself. */
export function failureOf(deployment: DeploymentRow): AppError {
  const failed = deployment.batches.flatMap((b) => b.steps).filter((s) => s.status === 'failed');
  return new AppError(
    'deployment_failed',
    `Build \`${deployment.buildName}\` was not deployed everywhere: ${countOf(deployment.batches, failed)}. Their errors say why; correct it, then deploy again.`,
    { details: detailsOf(deployment, failed) },
  );
}

/** The same of one that failed and has put everything back. */
export function takenBack(deployment: DeploymentRow): AppError {
  const failed = deployment.batches.flatMap((b) => b.steps).filter((s) => s.status === 'failed');
  return new AppError(
    'deployment_failed',
    `Build \`${deployment.buildName}\` was not deployed: ${countOf(deployment.batches, failed)}, and every server got back what it had. Their errors say why; correct it, then deploy again.`,
    { details: detailsOf(deployment, failed) },
  );
}

/** What a rollback that failed says about itself. */
export function rollbackFailureOf(deployment: DeploymentRow): AppError {
  const failed = deployment.rollbackBatches
    .flatMap((b) => b.steps)
    .filter((s) => s.status === 'failed');
  return new AppError(
    'deployment_failed',
    `Build \`${deployment.buildName}\` was not taken back everywhere: ${countOf(deployment.rollbackBatches, failed)}. Their errors say why; correct it, then roll back again.`,
    { details: detailsOf(deployment, failed) },
  );
}

type Batches = DeploymentRow['batches'];
type Steps = Batches[number]['steps'];

function countOf(batches: Batches, failed: Steps): string {
  const total = batches.reduce((sum, { steps }) => sum + steps.length, 0);
  const named = failed.slice(0, 3).map((s) => `\`${s.gitdeployName}\` on \`${s.serverName}\``);
  return `${failed.length} of ${counted(total, 'step')} failed (${named.join(', ')}${failed.length > 3 ? ', …' : ''})`;
}

function detailsOf({ id }: DeploymentRow, failed: Steps): Record<string, unknown> {
  return {
    deployment_id: id,
    failed_steps: failed
      .slice(0, 50)
      .map((s) => ({ server: s.serverName, gitdeploy: s.gitdeployName, error: s.error })),
  };
}
