import { AppError, type ErrorBody, toErrorBody } from '../../domain/errors.ts';
import type { WaitingFor } from '../../domain/waiting-for.ts';
import type { Db } from '../../store/database.ts';
import { type BatchRow, isOpenStep, moveBatch, type StepRow } from '../../store/deployments.ts';
import { inviteWorkers } from '../../store/joined-jobs.ts';
import { listStepsOf, type StepTarget, saveStepTargets } from '../../store/step-claims.ts';
import { finishSteps, type StepEnd } from '../../store/steps.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import type { HeldLeases } from '../hold-leases.ts';
import { type BatchWork, isOpen, keyOf, type PhaseWork, type StepWork } from './deployment-work.ts';
import { isLeftOut } from './left-out.ts';
import { type OutdatedSteps, outdatedError } from './outdated-steps.ts';
import { passGates } from './pass-gates.ts';
import { cleanUp, runShare, type Share } from './run-share.ts';

export interface BatchesRun {
  readonly work: PhaseWork;
  readonly held: HeldLeases;
  readonly commitOf: (step: StepWork) => string;
  /** Ids of the steps whose objects are not on the server yet. */
  readonly unstaged: ReadonlySet<string>;
  /** Steps whose server has something newer by now. */
  readonly outdated: OutdatedSteps;
  /** Aborted when the work is to end: cancelled, or as the leases are lost. */
  readonly signal: AbortSignal;
}

/**
 * How far the batches got: through; stopped by failures; cancelled; interrupted because the worker stops; to a safe
 * point where a user wants a pause or another deployment takes over; or to a gate that will not open soon.
 */
export type BatchesEnd =
  | { readonly end: 'done' | 'stopped' | 'cancelled' | 'interrupted' | 'paused' | 'superseded' }
  | { readonly end: 'waiting'; readonly waitingFor: WaitingFor };

/** The servers that failed, those that could not be reached and are left out, and how many may fail. */
interface Failures {
  readonly servers: Set<string>;
  readonly leftOut: Set<string>;
  readonly limit: number;
}

const isTooMany = ({ servers, limit }: Failures): boolean => servers.size > limit;

/** Runs the batches that are not done yet, in order, each as soon as its gates are open. */
export async function runBatches(
  dependencies: JobDependencies,
  context: JobContext,
  run: BatchesRun,
): Promise<BatchesEnd> {
  const { work, signal } = run;
  const failures = failuresSoFar(work);
  let previous: BatchRow | null = null;
  for (const next of work.batches) {
    if (isTooMany(failures)) return { end: 'stopped' };
    let { finishedAt } = next.batch;
    if (finishedAt === null) {
      if (context.draining.aborted) return { end: 'interrupted' };
      const closed = await passGates(dependencies, context, { work, previous, next, signal });
      if (closed !== null) return closed;
      const done = await runBatch(dependencies, context, next, { ...run, failures });
      if (!(done instanceof Date)) return { end: done };
      finishedAt = done;
    }
    previous = { ...next.batch, finishedAt };
  }
  return { end: isTooMany(failures) ? 'stopped' : 'done' };
}

/** A rollback goes on whatever fails: each server that has its old build back is better off. */
function failuresSoFar({ batches, phase, options }: PhaseWork): Failures {
  const limit = phase === 'rollback' ? Number.POSITIVE_INFINITY : options.max_failures;
  const failures = { servers: new Set<string>(), leftOut: new Set<string>(), limit };
  for (const { batch } of batches) noteFailures(failures, batch.steps);
  return failures;
}

function noteFailures({ servers, leftOut }: Failures, steps: readonly StepRow[]): void {
  for (const step of steps) {
    if (step.status === 'failed') servers.add(step.serverId);
    if (isLeftOut(step)) leftOut.add(step.serverId);
  }
}

/** @returns when it was finished, or why it was not */
async function runBatch(
  dependencies: JobDependencies,
  context: JobContext,
  { batch, steps }: BatchWork,
  run: BatchesRun & { readonly failures: Failures },
): Promise<Date | 'cancelled' | 'interrupted'> {
  const { failures, work, held, signal } = run;
  const record = (data: object, change: (tx: Db) => Promise<void>): Promise<void> => {
    const { index, slice, level } = batch;
    return context.record('batch', { phase: work.phase, index, slice, level, ...data }, change);
  };
  const share: Share = {
    work,
    batchId: batch.id,
    fences: held.fences,
    signal,
    lost: held.lost,
    onTakenOver: (tx, items) => held.retake(tx, items.map(keyOf)),
  };
  const open = steps.filter(isOpen);
  if (batch.status === 'running') {
    // Its worker died, maybe between the end of a step and the clearing up after it.
    const ended = steps.filter((item) => !isOpen(item) && item.step.status !== 'skipped');
    await cleanUp(dependencies, context, share, ended);
    held.lost.throwIfAborted();
    await context.transaction((tx) => giveOut(tx, open, run));
  } else {
    await record({ status: 'running', steps: steps.length }, async (tx) => {
      await giveOut(tx, open, run);
      await moveBatch(tx, batch.id, 'running', { startedAt: batch.startedAt ?? new Date() });
    });
  }
  await runShare(dependencies, context, share);
  if (context.cancelled.aborted) return 'cancelled';
  const now = await listStepsOf(dependencies.database.db, batch.id);
  noteFailures(failures, now);
  const isUnderWay = now.some((step) => isOpenStep(step) && step.jobId !== null);
  if (context.draining.aborted && (isUnderWay || !isTooMany(failures))) return 'interrupted';
  const isWhole = now.every((step) => step.status === 'succeeded' || isLeftOut(step));
  const status = isWhole ? 'succeeded' : 'failed';
  const finishedAt = new Date();
  await record({ status }, (tx) => moveBatch(tx, batch.id, status, { finishedAt }));
  return finishedAt;
}

/**
 * Lets workers take the steps of a batch, with what each brings. Those that need not begin end first: what comes later on
 * a server rests on what came before it.
 */
async function giveOut(
  tx: Db,
  open: readonly StepWork[],
  run: BatchesRun & { readonly failures: Failures },
): Promise<void> {
  const targets: StepTarget[] = [];
  const ends: StepEnd[] = [];
  for (const item of open) {
    const { id } = item.step;
    const end = endOf(item, run);
    if (end !== null) ends.push({ id, ...end });
    else targets.push({ id, commit: run.commitOf(item), isStaged: !run.unstaged.has(id) });
  }
  await finishSteps(tx, ends);
  await saveStepTargets(tx, targets);
  if (targets.length > 1) await inviteWorkers(tx);
}

/** Why a step need not begin; null if it is to be run. */
function endOf(
  item: StepWork,
  { failures, outdated }: BatchesRun & { readonly failures: Failures },
): Pick<StepEnd, 'status' | 'error'> | null {
  if (failures.servers.has(item.server.id)) return { status: 'skipped' };
  if (failures.leftOut.has(item.server.id)) {
    return { status: 'skipped', error: unreachableBefore(item) };
  }
  const newer = outdated.get(item.step.id);
  if (newer === undefined) return null;
  return { status: 'failed', error: toErrorBody(outdatedError(item, newer)) };
}

function unreachableBefore({ server }: StepWork): ErrorBody {
  return toErrorBody(
    new AppError(
      'server_unreachable',
      `Server \`${server.name}\` could not be reached earlier in this deployment, so it is left out.`,
    ),
  );
}
