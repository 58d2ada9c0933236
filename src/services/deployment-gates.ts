import { deploymentLifecycle, isFinal } from '../domain/deployment-state.ts';
import { AppError } from '../domain/errors.ts';
import { requireFreezeReason } from '../domain/freeze-window.ts';
import type { BatchRow, DeploymentRow } from '../store/deployments.ts';
import * as store from '../store/gates.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers } from './authorization.ts';
import type { ServiceContext } from './context.ts';
import { getDeployment } from './deployments.ts';
import {
  type ControlledDeployment,
  changeDeployment,
  refuseWhileEnding,
  tellChange,
  wakeJob,
} from './locked-deployment.ts';

interface GateRequest {
  readonly application: string;
  readonly id: string;
  readonly reason: string | null;
}

/** The batch whose approval a deployment waits for, or will as soon as its worker looks. */
export function unapprovedBatch(deployment: DeploymentRow): BatchRow | null {
  if (deployment.status !== 'running' && deployment.status !== 'paused') return null;
  const last = deployment.batches.findLast((batch) => batch.finishedAt !== null);
  const isNextBegun = deployment.batches.some(
    (batch) => batch.startedAt !== null && batch.finishedAt === null,
  );
  const isWaiting = last?.approvalAfter === true && last.approvedAt === null && !isNextBegun;
  return isWaiting ? last : null;
}

/**
 * Says yes to what comes after the batch that a deployment has stopped after.
 * @throws {AppError} `not_found`; `conflict` if it waits for no approval; `forbidden` for servers that the caller may
 *   not touch
 */
export async function approveDeployment(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { application, id, reason }: GateRequest,
): Promise<ControlledDeployment> {
  const found = await getDeployment(context, application, id);
  requireServers(caller, found.target.servers);
  return changeDeployment(context, caller, found, async (locked) => {
    const { tx, deployment } = locked;
    refuseWhileEnding(deployment);
    const batch = unapprovedBatch(deployment);
    if (batch === null) throw nothingToApprove(deployment);
    await store.approveBatch(tx, batch.id, caller.username);
    await recordAudit(tx, caller, {
      action: 'deployment.approve',
      application,
      subject: id,
      after: { after_batch: batch.index, reason },
    });
    await tellChange(locked, {
      approved: { after_batch: batch.index, by: caller.username, reason },
    });
    return wakeJob(locked);
  });
}

function nothingToApprove({ status, batches }: DeploymentRow): AppError {
  const next = batches.find((batch) => batch.approvalAfter && batch.approvedAt === null);
  const isOver = isFinal(deploymentLifecycle, status);
  const when =
    next === undefined || isOver
      ? 'It has none left to wait for.'
      : `It will after batch ${next.index}; approve it then.`;
  return new AppError('conflict', `The deployment waits for no approval now. ${when}`, {
    details: { status },
  });
}

/**
 * Lets a deployment go on although a freeze window holds.
 * @throws {AppError} `not_found`; `conflict` if it is over; `invalid_input` without a reason; `forbidden` for servers
 *   that the caller may not touch
 */
export async function overrideFreeze(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { application, id, reason }: GateRequest,
): Promise<ControlledDeployment> {
  requireFreezeReason(reason);
  const found = await getDeployment(context, application, id);
  requireServers(caller, found.target.servers);
  return changeDeployment(context, caller, found, async (locked) => {
    const { tx, deployment } = locked;
    refuseWhileEnding(deployment);
    if (isFinal(deploymentLifecycle, deployment.status)) {
      throw new AppError(
        'conflict',
        'The deployment is over, so no freeze holds it back; deploy again with `override_freeze=true`.',
        { details: { status: deployment.status } },
      );
    }
    if (deployment.options.override_freeze) return locked.job;
    await store.overrideFreeze(tx, id, deployment.options);
    await recordAudit(tx, caller, {
      action: 'deployment.override_freeze',
      application,
      subject: id,
      before: { waiting_for: deployment.waitingFor },
      after: { reason },
    });
    await tellChange(locked, { freeze: { overridden_by: caller.username, reason } });
    return wakeJob(locked);
  });
}
