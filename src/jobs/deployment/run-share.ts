import { getOrAdd } from '../../domain/get-or-add.ts';
import { claimSteps, takeOverSteps } from '../../store/step-claims.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { pause } from '../pause.ts';
import { loadSteps, type PhaseHead, type StepWork } from './deployment-work.ts';
import { cleanUpAfter, runStep, type StepRun } from './run-step.ts';

/** A batch that is under way, of which a worker does its share. */
export interface Share {
  readonly work: PhaseHead;
  readonly batchId: string;
  /** Of the clones that this worker is at, as they are at the moment. */
  readonly fences: StepRun['fences'];
  /** Aborted when the work is to end: cancelled, or as `lost`. */
  readonly signal: AbortSignal;
  readonly lost: AbortSignal;
  /** Called with steps that this worker has got, before it touches their servers. */
  readonly onTaken?: (steps: readonly StepWork[]) => Promise<void>;
  /** Called when steps are done with. */
  readonly onDone?: (steps: readonly StepWork[]) => void;
  /**
   * Of the worker that runs the deployment: it stays until the whole batch is done, and takes over from workers that are
   * lost. Called with their steps before it touches their servers. Others leave when there is nothing to take.
   */
  readonly onTakenOver?: (steps: readonly StepWork[]) => Promise<void>;
}

/** How soon a worker looks how far others are: at first soon, then ever less. */
const FIRST_LOOK_MS = 10;
const LAST_LOOK_MS = 500;

/**
 * Takes steps of a batch and runs them, those of one server together, for as long as there are any that nobody has. A
 * cancel, too many failures and a worker that stops end the taking; what has begun comes to its end.
 * @returns how many steps this worker has run
 * @throws the first error that concerns more than one step, once nothing is under way here any more
 */
export async function runShare(
  dependencies: JobDependencies,
  context: JobContext,
  share: Share,
): Promise<number> {
  const lanes = new Set<Promise<void>>();
  const failure: { first: { readonly error: unknown } | null } = { first: null };
  let steps = 0;
  let lookMs = FIRST_LOOK_MS;
  const begin = (items: readonly StepWork[]): void => {
    steps += items.length;
    for (const ofServer of byServer(items)) {
      const lane = runTogether(dependencies, context, share, ofServer)
        .catch((error: unknown) => {
          failure.first ??= { error };
        })
        .finally(() => lanes.delete(lane));
      lanes.add(lane);
    }
  };
  const isBroken = (): boolean => failure.first !== null || share.lost.aborted;
  try {
    while (!isBroken() && !context.draining.aborted) {
      const { taken, isLeft, areOthersAtIt } = await take(dependencies, context, share);
      begin(taken);
      if (taken.length > 0) lookMs = FIRST_LOOK_MS;
      const isGuest = share.onTakenOver === undefined;
      if (!isLeft && (isGuest || !areOthersAtIt)) break;
      if (lanes.size === 0) {
        if (isGuest) break;
        begin(await takeOver(dependencies, context, share));
      }
      // One that others end makes room here.
      const looks = areOthersAtIt || lanes.size === 0 ? [pause(lookMs, share.lost)] : [];
      lookMs = Math.min(LAST_LOOK_MS, lookMs * 2);
      await Promise.race([...lanes, ...looks]);
    }
  } finally {
    await Promise.all(lanes);
  }
  if (failure.first !== null) throw failure.first.error;
  share.lost.throwIfAborted();
  return steps;
}

/** What a look at the batch has come to. */
interface Taken {
  readonly taken: readonly StepWork[];
  /** True if there is more that somebody may take. */
  readonly isLeft: boolean;
  readonly areOthersAtIt: boolean;
}

async function take(
  { database }: JobDependencies,
  context: JobContext,
  share: Share,
): Promise<Taken> {
  const { deployment, options, phase } = share.work;
  const isStopping = share.signal.aborted;
  const claims = await context.transaction((tx) =>
    claimSteps(tx, {
      batchId: share.batchId,
      deploymentId: deployment.id,
      phase,
      jobId: context.jobId,
      concurrency: isStopping ? 0 : options.concurrency,
      // A rollback goes on whatever fails: each server that has its old build back is better off.
      maxFailures: phase === 'rollback' ? null : options.max_failures,
    }),
  );
  const taken = await loadSteps(database.db, claims.steps);
  if (taken.length > 0) await share.onTaken?.(taken);
  return {
    taken,
    isLeft: claims.openServers > 0 && !claims.isStopped && !isStopping,
    areOthersAtIt: claims.othersSteps > 0,
  };
}

/** @returns what lost workers have left open; what they have ended is cleared up after */
async function takeOver(
  dependencies: JobDependencies,
  context: JobContext,
  share: Share,
): Promise<readonly StepWork[]> {
  const { batchId } = share;
  const left = await context.transaction((tx) =>
    takeOverSteps(tx, { batchId, jobId: context.jobId }),
  );
  const items = await loadSteps(dependencies.database.db, [...left.open, ...left.ended]);
  if (items.length === 0) return items;
  await share.onTakenOver?.(items);
  const ended = new Set(left.ended.map(({ id }) => id));
  for (const item of items.filter(({ step }) => ended.has(step.id))) {
    await cleanUpAfter(dependencies, context, item, stepRun(share, item));
  }
  return items.filter(({ step }) => !ended.has(step.id));
}

/** Each step comes to its end, whatever happens to another one: nothing may go on unseen. */
async function runTogether(
  dependencies: JobDependencies,
  context: JobContext,
  share: Share,
  items: readonly StepWork[],
): Promise<void> {
  const ends = await Promise.allSettled(
    items.map((item) => runStep(dependencies, context, item, stepRun(share, item))),
  );
  share.onDone?.(items);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** What a step of a share needs beside its own rows. */
export function stepRun(
  { work, fences, signal, lost }: Pick<Share, 'work' | 'fences' | 'signal' | 'lost'>,
  { step }: StepWork,
): StepRun {
  // One without a commit was planned and never begun: it cannot be run, and is not.
  const commit = step.targetCommit ?? '';
  return { work, fences, commit, staged: step.isStaged, signal, lost };
}

function byServer(steps: readonly StepWork[]): Iterable<StepWork[]> {
  const groups = new Map<string, StepWork[]>();
  for (const item of steps) getOrAdd(groups, item.server.id, () => []).push(item);
  return groups.values();
}
