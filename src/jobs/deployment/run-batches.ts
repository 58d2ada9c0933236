import { finishStep, moveBatch } from '../../store/deployments.ts';
import type { Lease } from '../../store/leases.ts';
import type { JobDependencies } from '../dependencies.ts';
import { eachLimited } from '../each-limited.ts';
import type { JobContext } from '../handler.ts';
import { pause } from '../pause.ts';
import type { BatchWork, DeploymentWork, StepWork } from './deployment-work.ts';
import { runStep } from './run-step.ts';

export interface BatchesRun {
  readonly work: DeploymentWork;
  readonly leases: readonly Lease[];
  readonly commitOf: (step: StepWork) => string;
  /** Ids of the steps whose objects are not on the server yet. */
  readonly unstaged: ReadonlySet<string>;
  readonly signal: AbortSignal;
}

/** How far the batches got: through, stopped by failures, or interrupted because the worker stops. */
export type BatchesEnd = 'done' | 'stopped' | 'interrupted';

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
  const failures = failuresSoFar(run.work);
  for (const item of run.work.batches) {
    if (failures.isTooMany()) return 'stopped';
    let { finishedAt } = item.batch;
    if (finishedAt === null) {
      if (context.draining.aborted) return 'interrupted';
      finishedAt = await runBatch(dependencies, context, item, { ...run, failures });
      if (finishedAt === null) return 'interrupted';
    }
    if (failures.isTooMany()) return 'stopped';
    await pauseAfter(context, run, { item, finishedAt });
  }
  return 'done';
}

function failuresSoFar(work: DeploymentWork): Failures {
  const failedSteps = work.batches
    .flatMap((b) => b.steps)
    .filter(({ step }) => step.status === 'failed');
  const servers = new Set(failedSteps.map(({ server }) => server.id));
  return { servers, isTooMany: () => servers.size > work.options.max_failures };
}

/** @returns when it was finished, or null if it was interrupted */
async function runBatch(
  dependencies: JobDependencies,
  context: JobContext,
  { batch, steps }: BatchWork,
  run: BatchesRun & { readonly failures: Failures },
): Promise<Date | null> {
  const { db } = dependencies.database;
  const { failures, work } = run;
  const deploymentId = work.deployment.id;
  const emit = (data: object): Promise<void> =>
    context.emit(
      'batch',
      { index: batch.index, slice: batch.slice, level: batch.level, ...data },
      deploymentId,
    );
  await moveBatch(db, batch.id, 'running', { startedAt: batch.startedAt ?? new Date() });
  await emit({ status: 'running', steps: steps.length });

  let allSucceeded = steps.every(({ step }) => step.status !== 'failed');
  const open = steps.filter(({ step }) => step.status === 'pending' || step.status === 'running');
  await eachLimited(byServer(open), work.options.concurrency, async (ofServer) => {
    if (context.draining.aborted || failures.isTooMany()) return;
    await Promise.all(
      ofServer.map(async (item) => {
        if (failures.servers.has(item.server.id)) {
          // What comes later on a server rests on what came before it.
          await finishStep(db, item.step.id, { status: 'skipped' });
          return;
        }
        const succeeded = await runStep(dependencies, context, item, {
          work,
          leases: run.leases,
          commit: run.commitOf(item),
          staged: !run.unstaged.has(item.step.id),
          signal: run.signal,
        });
        if (succeeded) return;
        allSucceeded = false;
        failures.servers.add(item.server.id);
      }),
    );
  });
  if (context.draining.aborted && !failures.isTooMany()) return null;
  const status = allSucceeded ? 'succeeded' : 'failed';
  const finishedAt = new Date();
  await moveBatch(db, batch.id, status, { finishedAt });
  await emit({ status });
  return finishedAt;
}

async function pauseAfter(
  context: JobContext,
  run: BatchesRun,
  after: { item: BatchWork; finishedAt: Date },
): Promise<void> {
  const { batch } = after.item;
  const remainingMs = after.finishedAt.getTime() + batch.pauseAfterSeconds * 1000 - Date.now();
  if (remainingMs <= 0) return;
  await context.emit(
    'pause',
    { after_batch: batch.index, seconds: batch.pauseAfterSeconds },
    run.work.deployment.id,
  );
  await pause(remainingMs, context.draining, run.signal);
  run.signal.throwIfAborted();
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
