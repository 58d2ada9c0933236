import { deploymentLifecycle, transition } from '../domain/deployment-state.ts';
import type { Db } from '../store/database.ts';
import { lockDeployment, noteRequests } from '../store/deployments.ts';
import { requestJobCancel } from '../store/jobs.ts';
import { listJoinedJobs } from '../store/joined-jobs.ts';
import { recordAudit } from './audit.ts';
import type { Caller } from './context.ts';

/**
 * Asks for the end of a deployment, in the transaction that has locked its job. Asking again changes nothing.
 * @throws {AppError} `conflict` if the deployment is over or is being rolled back
 */
export async function requestDeploymentCancel(
  tx: Db,
  caller: Caller,
  of: {
    readonly jobId: string | null;
    readonly deploymentId: string;
    readonly application: string | null;
  },
): Promise<void> {
  const deployment = await lockDeployment(tx, of.deploymentId);
  if (deployment === null) return;
  const { status, cancelRequestedAt } = deployment;
  transition(deploymentLifecycle, status, 'cancel');
  if (cancelRequestedAt !== null || of.jobId === null) return;
  await noteRequests(tx, of.deploymentId, { cancelRequestedAt: new Date() });
  await requestJobCancel(tx, of.jobId);
  for (const jobId of await listJoinedJobs(tx, of.deploymentId)) await requestJobCancel(tx, jobId);
  await recordAudit(tx, caller, {
    action: 'deployment.cancel',
    application: of.application,
    subject: of.deploymentId,
    before: { status, build: deployment.buildName },
  });
}
