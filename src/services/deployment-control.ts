import {
  type DeploymentStatus,
  deploymentLifecycle,
  isFinal,
  nextStatus,
  transition,
} from '../domain/deployment-state.ts';
import { AppError } from '../domain/errors.ts';
import type { Db } from '../store/database.ts';
import {
  type DeploymentRow,
  findDeployment,
  lockDeployment,
  moveDeployment,
  noteRequests,
  reopenWork,
} from '../store/deployments.ts';
import { appendEvent } from '../store/events.ts';
import { deferJob, lockDeploymentJob } from '../store/jobs.ts';
import { openRollback } from '../store/rollbacks.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers } from './authorization.ts';
import { requestDeploymentCancel } from './cancel-deployment.ts';
import type { Caller, ServiceContext } from './context.ts';
import { type DeploymentDetails, getDeployment } from './deployments.ts';
import { type FeedItem, followEvents } from './event-feed.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';

/** What a user may ask of a deployment that there is. */
export const DEPLOYMENT_ACTIONS = ['cancel', 'pause', 'resume', 'retry', 'rollback'] as const;
export type DeploymentAction = (typeof DEPLOYMENT_ACTIONS)[number];

/** A deployment that was asked for something, and the job that sees to it; null if none has to. */
export interface ControlledDeployment {
  readonly deployment: DeploymentDetails;
  readonly job: Job | null;
}

/** A deployment that is locked, as it is before it is changed. */
interface Locked {
  readonly tx: Db;
  readonly caller: Caller;
  readonly deployment: DeploymentRow;
  readonly application: string;
  /** The job that runs it now. */
  readonly job: Job | null;
}

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
  const job = await context.database.transaction(async (tx) => {
    // The job first, as its worker does: whoever takes both in one order never waits for the other in a circle.
    const running = await lockDeploymentJob(tx, {
      applicationId: found.applicationId,
      deploymentId: id,
    });
    await lockDeployment(tx, id);
    const deployment = await findDeployment(tx, id);
    if (deployment === null) return null;
    return ACTIONS[action]({ tx, caller, deployment, application, job: running });
  });
  if (job !== null) await ringJob(context, job);
  return { deployment: await getDeployment(context, application, id), job };
}

const ACTIONS: Readonly<Record<DeploymentAction, (locked: Locked) => Promise<Job | null>>> = {
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
    await note(locked, 'pause');
    await tell(locked, { pause: 'requested' });
    return wake(locked);
  },
  resume: async (locked) => {
    const { tx, deployment, job } = locked;
    refuseWhileEnding(deployment);
    const isWithdrawn = deployment.status === 'running' && deployment.pauseRequestedAt !== null;
    if (!isWithdrawn) transition(deploymentLifecycle, deployment.status, 'resume');
    await noteRequests(tx, deployment.id, { pauseRequestedAt: null });
    await moveDeployment(tx, deployment.id, { from: ['paused'], to: 'running' });
    await note(locked, 'resume');
    await tell(locked, isWithdrawn ? { pause: 'withdrawn' } : { status: 'running' });
    return isWithdrawn ? job : wake(locked);
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
    await noteRequests(tx, deployment.id, { pauseRequestedAt: null, cancelRequestedAt: null });
    return startJob(locked, 'retry', { status: 'queued', steps });
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
    await note(locked, 'rollback');
    await tell(locked, data);
    return wake(locked);
  },
};

/** What was promised to who cancelled it stands. */
function refuseWhileEnding({ cancelRequestedAt, status }: DeploymentRow): void {
  if (cancelRequestedAt === null || isFinal(deploymentLifecycle, status)) return;
  throw new AppError(
    'conflict',
    'The deployment is being cancelled; wait until it has ended, then roll it back or try it again.',
    { details: { status } },
  );
}

async function startJob(locked: Locked, action: DeploymentAction, data: object): Promise<Job> {
  const { tx, caller, deployment } = locked;
  const job = await recordJob(tx, caller, {
    kind: 'run_deployment',
    data: { deploymentId: deployment.id },
    applicationId: deployment.applicationId,
  });
  await note(locked, action);
  await tell({ ...locked, job }, data);
  return job;
}

/** Has the job that was put back looked at now. One that is in a worker's hands comes to a safe point by itself. */
async function wake({ tx, job }: Locked): Promise<Job | null> {
  if (job !== null) await deferJob(tx, job.id, 0);
  return job;
}

async function note(
  { tx, caller, application, deployment }: Locked,
  action: DeploymentAction,
): Promise<void> {
  await recordAudit(tx, caller, {
    action: `deployment.${action}`,
    application,
    subject: deployment.id,
    before: { status: deployment.status, build: deployment.buildName },
  });
}

async function tell({ tx, deployment, job }: Locked, data: object): Promise<void> {
  await appendEvent(tx, {
    jobId: job?.id ?? null,
    deploymentId: deployment.id,
    kind: 'deployment',
    data,
  });
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
