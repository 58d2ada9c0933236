import { DeploymentOptions } from '../domain/deployment-options.ts';
import { WaitingFor } from '../domain/waiting-for.ts';
import type { Db } from './database.ts';
import { Prisma } from './generated/client.ts';
import { fromJson, toJson } from './json.ts';

/** What decides whether the next batch of a deployment may begin, as it is now. */
export interface GateState {
  readonly isPauseRequested: boolean;
  readonly isSuperseded: boolean;
  readonly isFreezeOverridden: boolean;
  readonly waitingFor: WaitingFor | null;
  /** When the batch in question was approved. */
  readonly approvedAt: Date | null;
}

/** @returns null if there is no such deployment any more */
export async function readGateState(
  db: Db,
  deploymentId: string,
  batchId: string | null,
): Promise<GateState | null> {
  const row = await db.deployment.findUnique({
    where: { id: deploymentId },
    select: {
      pauseRequestedAt: true,
      supersededById: true,
      options: true,
      waitingFor: true,
      // An id that no batch has, so that there is one shape of the row.
      batches: { where: { id: batchId ?? deploymentId }, select: { approvedAt: true } },
    },
  });
  if (row === null) return null;
  return {
    isPauseRequested: row.pauseRequestedAt !== null,
    isSuperseded: row.supersededById !== null,
    isFreezeOverridden: fromJson(DeploymentOptions, row.options).override_freeze,
    waitingFor: row.waitingFor === null ? null : fromJson(WaitingFor, row.waitingFor),
    approvedAt: row.batches[0]?.approvedAt ?? null,
  };
}

/** Notes what a deployment waits for now, or (null) that it waits no more. */
export async function noteWaiting(
  db: Db,
  deploymentId: string,
  waitingFor: WaitingFor | null,
): Promise<void> {
  await db.deployment.update({
    where: { id: deploymentId },
    data: { waitingFor: waitingFor === null ? Prisma.DbNull : toJson(waitingFor) },
  });
}

/** Whether a user has said yes to what comes after the batch of this index. */
export async function isBatchApproved(
  db: Db,
  deploymentId: string,
  index: number,
): Promise<boolean> {
  const row = await db.batch.findFirst({
    where: { deploymentId, phase: 'forward', index },
    select: { approvedAt: true },
  });
  return row !== null && row.approvedAt !== null;
}

/** Records that a user has said yes to what comes after a batch. */
export async function approveBatch(db: Db, batchId: string, username: string): Promise<void> {
  await db.batch.update({
    where: { id: batchId },
    data: { approvedAt: new Date(), approvedBy: username },
  });
}

/** Lets a deployment go on in a freeze. */
export async function overrideFreeze(
  db: Db,
  deploymentId: string,
  options: DeploymentOptions,
): Promise<void> {
  await db.deployment.update({
    where: { id: deploymentId },
    data: { options: toJson({ ...options, override_freeze: true }) },
  });
}
