import { toErrorBody } from '../../domain/errors.ts';
import type { Db } from '../../store/database.ts';
import { finishStep, isPauseRequested, moveBatch } from '../../store/deployments.ts';
import type { Fences } from '../../store/leases.ts';
import type { JobDependencies } from '../dependencies.ts';
import { eachLimited } from '../each-limited.ts';
import type { JobContext } from '../handler.ts';
import { pause } from '../pause.ts';
import { type BatchWork, isOpen, type PhaseWork, type StepWork } from './deployment-work.ts';
import { type OutdatedSteps, outdatedError } from './outdated-steps.ts';
import { runStep } from './run-step.ts';

/** A pause that is longer than this is not waited for in the worker: others can use its place. */
const PARK_OVER_MS = 3000;

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
 * point where a user wants a pause; or into a pause of the plan that is too long to wait for.
 */
export type BatchesEnd =
  | { readonly end: 'done' | 'stopped' | 'cancelled' | 'interrupted' | 'paused' }
  | { readonly end: 'waiting'; readonly until: Date };

/** Which servers failed, and whether these are too many to go on. */
interface Failures {
  readonly servers: Set<string>;
  readonly isTooMany: () => boolean;
}

/** Runs the batches that are not done yet, in order, with their pauses. */
export async function runBatches(
  dependencies: JobDependencies,
  context: JobContext,
  run: BatchesRun,
): Promise<BatchesEnd> {
  const { db } = dependencies.database;
  const { deployment, phase, batches } = run.work;
  const failures = failuresSoFar(run.work);
  const wantsPause = (): Promise<boolean> =>
    phase === 'rollback' ? Promise.resolve(false) : isPauseRequested(db, deployment.id);
  for (const item of batches) {
    if (failures.isTooMany()) return { end: 'stopped' };
    let { finishedAt } = item.batch;
    if (finishedAt === null) {
      if (context.draining.aborted) return { end: 'interrupted' };
      if (await wantsPause()) return { end: 'paused' };
      const done = await runBatch(dependencies, context, item, { ...run, failures });
      if (!(done instanceof Date)) return { end: done };
      finishedAt = done;
    }
    if (failures.isTooMany()) return { end: 'stopped' };
    const until = new Date(finishedAt.getTime() + item.batch.pauseAfterSeconds * 1000);
    if (until.getTime() <= Date.now()) continue;
    if (await wantsPause()) return { end: 'paused' };
    if (!(await waitUntil(context, run, { item, until }))) return { end: 'waiting', until };
    if (context.cancelled.aborted) return { end: 'cancelled' };
  }
  return { end: 'done' };
}

/** A rollback goes on whatever fails: each server that has its old build back is better off. */
function failuresSoFar(work: PhaseWork): Failures {
  const failedSteps = work.batches
    .flatMap((b) => b.steps)
    .filter(({ step }) => step.status === 'failed');
  const servers = new Set(failedSteps.map(({ server }) => server.id));
  const limit = work.phase === 'rollback' ? Number.POSITIVE_INFINITY : work.options.max_failures;
  return { servers, isTooMany: () => servers.size > limit };
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
  // One that is taken up again is running already.
  if (batch.status !== 'running') {
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
    const newer = run.outdated.get(item.step.id);
    if (newer !== undefined) {
      const error = toErrorBody(outdatedError(item, newer));
      await context.transaction((tx) => finishStep(tx, item.step.id, { status: 'failed', error }));
    }
    const end =
      newer !== undefined
        ? 'failed'
        : await runStep(dependencies, context, item, {
            work,
            fences: run.fences,
            commit: run.commitOf(item),
            staged: !run.unstaged.has(item.step.id),
            signal: run.signal,
            lost: run.lost,
          });
    if (end === 'succeeded') return;
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

/** @returns false if that is too long to wait for here */
async function waitUntil(
  context: JobContext,
  run: BatchesRun,
  { item, until }: { item: BatchWork; until: Date },
): Promise<boolean> {
  const remainingMs = until.getTime() - Date.now();
  const { index, pauseAfterSeconds } = item.batch;
  await context.emit('pause', {
    after_batch: index,
    seconds: pauseAfterSeconds,
    until: until.toISOString(),
  });
  if (remainingMs > PARK_OVER_MS) return false;
  await pause(remainingMs, context.draining, run.signal);
  run.lost.throwIfAborted();
  return true;
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
