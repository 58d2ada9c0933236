import { AppError, type ErrorBody, toErrorBody } from '../../domain/errors.ts';
import type { WaitingFor } from '../../domain/waiting-for.ts';
import type { Db } from '../../store/database.ts';
import { type BatchRow, finishStep, moveBatch } from '../../store/deployments.ts';
import type { Fences } from '../../store/leases.ts';
import type { JobDependencies } from '../dependencies.ts';
import { eachLimited } from '../each-limited.ts';
import type { JobContext } from '../handler.ts';
import { type BatchWork, isOpen, type PhaseWork, type StepWork } from './deployment-work.ts';
import { isLeftOut } from './left-out.ts';
import { type OutdatedSteps, outdatedError } from './outdated-steps.ts';
import { passGates } from './pass-gates.ts';
import { cleanUpAfter, runStep, type StepRun } from './run-step.ts';

export interface BatchesRun {
  readonly work: PhaseWork;
  readonly fences: Fences;
  readonly commitOf: (step: StepWork) => string;
  /** Ids of the steps whose objects are not on the server yet. */
  readonly unstaged: ReadonlySet<string>;
  /** Steps whose server has something newer by now. */
  readonly outdated: OutdatedSteps;
  /** Aborted when the work is to end: cancelled, or as `lost`. */
  readonly signal: AbortSignal;
  readonly lost: AbortSignal;
}

/**
 * How far the batches got: through; stopped by failures; cancelled; interrupted because the worker stops; to a safe
 * point where a user wants a pause or another deployment takes over; or to a gate that will not open soon.
 */
export type BatchesEnd =
  | { readonly end: 'done' | 'stopped' | 'cancelled' | 'interrupted' | 'paused' | 'superseded' }
  | { readonly end: 'waiting'; readonly waitingFor: WaitingFor };

/** Which servers failed, and whether these are too many to go on; and which could not be reached and are left out. */
interface Failures {
  readonly servers: Set<string>;
  readonly leftOut: Set<string>;
  readonly isTooMany: () => boolean;
}

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
    if (failures.isTooMany()) return { end: 'stopped' };
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
  return { end: failures.isTooMany() ? 'stopped' : 'done' };
}

/** A rollback goes on whatever fails: each server that has its old build back is better off. */
function failuresSoFar(work: PhaseWork): Failures {
  const failedSteps = work.batches
    .flatMap((b) => b.steps)
    .filter(({ step }) => step.status === 'failed');
  const servers = new Set(failedSteps.map(({ server }) => server.id));
  const limit = work.phase === 'rollback' ? Number.POSITIVE_INFINITY : work.options.max_failures;
  const leftOut = new Set(
    work.batches
      .flatMap((b) => b.steps)
      .filter(({ step }) => isLeftOut(step))
      .map(({ server }) => server.id),
  );
  return { servers, leftOut, isTooMany: () => servers.size > limit };
}

/** @returns when it was finished, or why it was not */
async function runBatch(
  dependencies: JobDependencies,
  context: JobContext,
  { batch, steps }: BatchWork,
  run: BatchesRun & { readonly failures: Failures },
): Promise<Date | 'cancelled' | 'interrupted'> {
  const { failures, work } = run;
  const record = (data: object, change: (tx: Db) => Promise<void>): Promise<void> => {
    const { index, slice, level } = batch;
    return context.record('batch', { phase: work.phase, index, slice, level, ...data }, change);
  };
  const runOf = (item: StepWork): StepRun => ({
    work,
    fences: run.fences,
    commit: run.commitOf(item),
    staged: !run.unstaged.has(item.step.id),
    signal: run.signal,
    lost: run.lost,
  });
  if (batch.status === 'running') {
    // Its worker died, maybe between the end of a step and the clearing up after it.
    const ended = steps.filter((item) => !isOpen(item) && item.step.status !== 'skipped');
    await eachLimited(ended, work.options.concurrency, (item) =>
      cleanUpAfter(dependencies, context, item, runOf(item)),
    );
    run.lost.throwIfAborted();
  } else {
    await record({ status: 'running', steps: steps.length }, (tx) =>
      moveBatch(tx, batch.id, 'running', { startedAt: batch.startedAt ?? new Date() }),
    );
  }

  let allSucceeded = steps.every(({ step }) => step.status !== 'failed');
  const doStep = async (item: StepWork): Promise<void> => {
    if (failures.servers.has(item.server.id)) {
      // What comes later on a server rests on what came before it.
      await context.transaction((tx) => finishStep(tx, item.step.id, { status: 'skipped' }));
      allSucceeded = false;
      return;
    }
    if (failures.leftOut.has(item.server.id)) {
      const error = unreachableBefore(item);
      await context.transaction((tx) => finishStep(tx, item.step.id, { status: 'skipped', error }));
      return;
    }
    const newer = run.outdated.get(item.step.id);
    if (newer !== undefined) {
      const error = toErrorBody(outdatedError(item, newer));
      await context.transaction((tx) => finishStep(tx, item.step.id, { status: 'failed', error }));
    }
    const end =
      newer !== undefined ? 'failed' : await runStep(dependencies, context, item, runOf(item));
    if (end === 'succeeded') return;
    if (end === 'skipped') {
      failures.leftOut.add(item.server.id);
      return;
    }
    allSucceeded = false;
    if (end === 'failed') failures.servers.add(item.server.id);
  };
  const open = steps.filter(isOpen);
  await eachLimited(byServer(open), work.options.concurrency, async (ofServer) => {
    if (context.draining.aborted || run.signal.aborted || failures.isTooMany()) return;
    // Each step comes to its end, whatever happens to another one: nothing may go on unseen.
    for (const one of await Promise.allSettled(ofServer.map(doStep))) {
      if (one.status === 'rejected') throw one.reason;
    }
  }).finally(() => run.lost.throwIfAborted());
  if (context.cancelled.aborted) return 'cancelled';
  if (context.draining.aborted && !failures.isTooMany()) return 'interrupted';
  const status = allSucceeded ? 'succeeded' : 'failed';
  const finishedAt = new Date();
  await record({ status }, (tx) => moveBatch(tx, batch.id, status, { finishedAt }));
  return finishedAt;
}

function unreachableBefore({ server }: StepWork): ErrorBody {
  return toErrorBody(
    new AppError(
      'server_unreachable',
      `Server \`${server.name}\` could not be reached earlier in this deployment, so it is left out.`,
    ),
  );
}

function byServer(steps: readonly StepWork[]): StepWork[][] {
  const groups = new Map<string, StepWork[]>();
  for (const item of steps) {
    const group = groups.get(item.server.id);
    if (group === undefined) groups.set(item.server.id, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
