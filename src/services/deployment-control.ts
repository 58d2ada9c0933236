import {
  type DeploymentStatus,
  deploymentLifecycle,
  isFinal,
  nextStatus,
  transition,
} from '../domain/deployment-state.ts';
import { AppError } from '../domain/errors.ts';
import { moveDeployment, noteRequests, reopenWork } from '../store/deployments.ts';
import { openRollback } from '../store/rollbacks.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers } from './authorization.ts';
import { requestDeploymentCancel } from './cancel-deployment.ts';
import type { ServiceContext } from './context.ts';
import { type DeploymentDetails, getDeployment } from './deployments.ts';
import { type FeedItem, followEvents } from './event-feed.ts';
import { type Job, recordJob } from './jobs.ts';
import {
  auditAction,
  type ControlledDeployment,
  changeDeployment,
  type LockedDeployment,
  refuseWhileEnding,
  tellChange,
  wakeJob,
} from './locked-deployment.ts';

/** What a user may ask of a deployment that there is. */
export const DEPLOYMENT_ACTIONS = ['cancel', 'pause', 'resume', 'retry', 'rollback'] as const;
export type DeploymentAction = (typeof DEPLOYMENT_ACTIONS)[number];

/**
 * Does what a user asks of a deployment. What needs a safe point (`cancel`, `pause`) is noted, and done by the worker.
 * @throws {AppError} `not_found`; `conflict` where its status does not allow it; `forbidden` if it would go on on
 *   servers that the caller may not touch
 */
export async function controlDeployment(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  of: { readonly application: string; readonly id: string; readonly action: DeploymentAction },
): Promise<ControlledDeployment> {
  const { application, id, action } = of;
  const found = await getDeployment(context, application, id);
  // To stop is always allowed to who may write the application.
  if (action !== 'cancel' && action !== 'pause') requireServers(caller, found.target.servers);
  return changeDeployment(context, caller, found, ACTIONS[action]);
}

const ACTIONS: Readonly<
  Record<DeploymentAction, (locked: LockedDeployment) => Promise<Job | null>>
> = {
  cancel: async ({ tx, caller, deployment, application, job }) => {
    await requestDeploymentCancel(tx, caller, {
      jobId: job?.id ?? null,
      deploymentId: deployment.id,
      application,
    });
    return job;
  },
  pause: async (locked) => {
    const { tx, deployment, job } = locked;
    refuseWhileEnding(deployment);
    if (deployment.status === 'running' && deployment.pauseRequestedAt !== null) return job;
    transition(deploymentLifecycle, deployment.status, 'pause');
    await noteRequests(tx, deployment.id, { pauseRequestedAt: new Date() });
    await auditAction(locked, 'pause');
    await tellChange(locked, { pause: 'requested' });
    return wakeJob(locked);
  },
  resume: async (locked) => {
    const { tx, deployment, job } = locked;
    refuseWhileEnding(deployment);
    const isWithdrawn = deployment.status === 'running' && deployment.pauseRequestedAt !== null;
    if (!isWithdrawn) transition(deploymentLifecycle, deployment.status, 'resume');
    await noteRequests(tx, deployment.id, { pauseRequestedAt: null });
    await moveDeployment(tx, deployment.id, { from: ['paused'], to: 'running' });
    await auditAction(locked, 'resume');
    await tellChange(
      locked,
      isWithdrawn ? { pause: 'withdrawn' } : { status: 'running', action: 'resume' },
    );
    return isWithdrawn ? job : wakeJob(locked);
  },
  retry: async (locked) => {
    const { tx, deployment } = locked;
    transition(deploymentLifecycle, deployment.status, 'retry');
    if (deployment.rollbackBatches.length > 0) {
      throw new AppError(
        'conflict',
        'The deployment was rolled back in part, so its steps cannot be tried again. Roll it back once more, or deploy the build anew.',
        { details: { status: deployment.status, event: 'retry' } },
      );
    }
    const steps = await reopenWork(tx, deployment.id, 'forward');
    await moveDeployment(tx, deployment.id, {
      from: ['failed', 'cancelled'],
      to: 'queued',
      error: null,
      finishedAt: null,
    });
    await noteRequests(tx, deployment.id, {
      pauseRequestedAt: null,
      cancelRequestedAt: null,
      supersededById: null,
    });
    return startJob(locked, 'retry', { status: 'queued', action: 'retry', steps });
  },
  rollback: async (locked) => {
    const { tx, deployment } = locked;
    refuseWhileEnding(deployment);
    transition(deploymentLifecycle, deployment.status, 'rollback');
    const plan = await openRollback(tx, deployment, { error: null });
    if (plan.batches.length === 0 && plan.leftAlone.length > 0) {
      throw new AppError(
        'conflict',
        'No server has what this deployment brought any more: later deployments have changed them all. Roll those back instead.',
        { details: { left_alone: plan.leftAlone.slice(0, 50) } },
      );
    }
    const data = {
      status: 'rolling_back',
      batches: plan.batches.length,
      ...(plan.leftAlone.length > 0 ? { left_alone: plan.leftAlone.slice(0, 50) } : {}),
    };
    if (locked.job === null) return startJob(locked, 'rollback', data);
    // It was paused: the job that has waited goes the other way now.
    await auditAction(locked, 'rollback');
    await tellChange(locked, data);
    return wakeJob(locked);
  },
};

async function startJob(
  locked: LockedDeployment,
  action: DeploymentAction,
  data: object,
): Promise<Job> {
  const { tx, caller, deployment } = locked;
  const job = await recordJob(tx, caller, {
    kind: 'run_deployment',
    data: { deploymentId: deployment.id },
    applicationId: deployment.applicationId,
  });
  await auditAction(locked, action);
  await tellChange({ ...locked, job }, data);
  return job;
}

const isOver = (status: string): boolean =>
  deploymentLifecycle.final.some((final) => final === status);

/** Follows what a deployment tells, to its end. */
export function followDeployment(
  context: ServiceContext,
  id: string,
  o: { readonly after: bigint; readonly signal: AbortSignal },
): AsyncGenerator<FeedItem> {
  return followEvents(context, { subject: { kind: 'deployment', id }, isFinal: isOver, ...o });
}

/** What the end of an action looks like, for who waits for it. */
function isSettled(action: 'cancel' | 'pause', status: DeploymentStatus): boolean {
  if (isFinal(deploymentLifecycle, status)) return true;
  return action === 'pause' && nextStatus(deploymentLifecycle, status, 'pause') === null;
}

/** Waits until a deployment was cancelled or paused, or has ended otherwise; or until the time is up. */
export async function waitForAction(
  context: ServiceContext,
  of: {
    readonly application: string;
    readonly id: string;
    readonly action: 'cancel' | 'pause';
    readonly seconds: number;
    readonly signal: AbortSignal;
  },
): Promise<{ deployment: DeploymentDetails; isSettled: boolean }> {
  const { application, id, action } = of;
  const signal = AbortSignal.any([of.signal, AbortSignal.timeout(of.seconds * 1000)]);
  const feed = followEvents(context, {
    subject: { kind: 'deployment', id },
    after: 0n,
    isFinal: (status) => isSettled(action, status as DeploymentStatus),
    signal,
  });
  for await (const item of feed) if (item.kind === 'end') break;
  const deployment = await getDeployment(context, application, id);
  return { deployment, isSettled: isSettled(action, deployment.status) };
}
