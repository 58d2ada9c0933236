import { deploymentLifecycle, isFinal } from '../domain/deployment-state.ts';
import { AppError } from '../domain/errors.ts';
import type { Db } from '../store/database.ts';
import { type DeploymentRow, findDeployment, lockDeployment } from '../store/deployments.ts';
import { appendEvent } from '../store/events.ts';
import { deferJob, lockDeploymentJob } from '../store/jobs.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import type { Caller, ServiceContext } from './context.ts';
import { type DeploymentDetails, getDeployment } from './deployments.ts';
import { type Job, ringJob } from './jobs.ts';

/** A deployment that was asked for something, and the job that sees to it; null if none has to. */
export interface ControlledDeployment {
  readonly deployment: DeploymentDetails;
  readonly job: Job | null;
}

/** A deployment that is locked, as it is before it is changed. */
export interface LockedDeployment {
  readonly tx: Db;
  readonly caller: Caller;
  readonly deployment: DeploymentRow;
  readonly application: string;
  /** The job that runs it now. */
  readonly job: Job | null;
}

/**
 * Changes a deployment that may be running at this moment.
 * @param change returns the job that is to be rung for
 */
export async function changeDeployment(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  of: DeploymentDetails,
  change: (locked: LockedDeployment) => Promise<Job | null>,
): Promise<ControlledDeployment> {
  const { id, applicationId, applicationName: application } = of;
  const job = await context.database.transaction(async (tx) => {
    // The job first, as its worker does: whoever takes both in one order never waits for the other in a circle.
    const running = await lockDeploymentJob(tx, { applicationId, deploymentId: id });
    await lockDeployment(tx, id);
    const deployment = await findDeployment(tx, id);
    if (deployment === null) return null;
    return change({ tx, caller, deployment, application, job: running });
  });
  if (job !== null) await ringJob(context, job);
  return { deployment: await getDeployment(context, application, id), job };
}

/** What was promised to who cancelled it stands. @throws {AppError} `conflict` */
export function refuseWhileEnding({ cancelRequestedAt, status }: DeploymentRow): void {
  if (cancelRequestedAt === null || isFinal(deploymentLifecycle, status)) return;
  throw new AppError(
    'conflict',
    'The deployment is being cancelled; wait until it has ended, then roll it back or try it again.',
    { details: { status } },
  );
}

/** Has the job that was put back looked at now. One that is in a worker's hands comes to a safe point by itself. */
export async function wakeJob({ tx, job }: LockedDeployment): Promise<Job | null> {
  if (job !== null) await deferJob(tx, job.id, 0);
  return job;
}

/** Writes down who asked for what. */
export async function auditAction(
  { tx, caller, application, deployment }: LockedDeployment,
  action: string,
): Promise<void> {
  await recordAudit(tx, caller, {
    action: `deployment.${action}`,
    application,
    subject: deployment.id,
    before: { status: deployment.status, build: deployment.buildName },
  });
}

/** Tells it in the stream of the deployment. */
export async function tellChange(
  { tx, deployment, job }: LockedDeployment,
  data: object,
): Promise<void> {
  await appendEvent(tx, {
    jobId: job?.id ?? null,
    deploymentId: deployment.id,
    kind: 'deployment',
    data,
  });
}
