import { getOrAdd } from '../../domain/get-or-add.ts';
import type { Db } from '../../store/database.ts';
import {
  claimSteps,
  type StepClaims,
  takeOverSteps,
  withholdSteps,
} from '../../store/step-claims.ts';
import type { JobDependencies } from '../dependencies.ts';
import { eachLimited } from '../each-limited.ts';
import type { JobContext } from '../handler.ts';
import type { Seat } from './barrier.ts';
import { loadSteps, type PhaseHead, type StepWork } from './deployment-work.ts';
import { openLanes } from './lanes.ts';
import { cleanUpAfter, runStep, type StepRun } from './run-step.ts';
import { takeSeats } from './seats.ts';

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
   * lost; called in the transaction that does so. Others leave when there is nothing to take.
   */
  readonly onTakenOver?: (tx: Db, steps: readonly StepWork[]) => Promise<void>;
}

/** How soon a worker looks how far others are: at first soon, then ever less. */
const FIRST_LOOK_MS = 10;
const LAST_LOOK_MS = 500;
/** How long it leaves to others what is left, before it takes a share of that as well. Longer than they take to look. */
const LEAVE_MS = 500;

/**
 * Takes steps of a batch and runs them, those of one server together, for as long as there are any that nobody has. A
 * cancel, too many failures and a worker that stops end the taking; what has begun comes to its end, and the worker that
 * runs the deployment waits for what others have begun.
 * @returns how many steps this worker has run
 * @throws the first error that concerns more than one step, once nothing is under way here any more
 */
export async function runShare(
  dependencies: JobDependencies,
  context: JobContext,
  share: Share,
): Promise<number> {
  const isGuest = share.onTakenOver === undefined;
  const lanes = openLanes();
  let steps = 0;
  let lookMs = FIRST_LOOK_MS;
  let isWithheld = false;
  const begin = (items: readonly StepWork[], together = false): void => {
    steps += items.length;
    const seats = takeSeats(together ? items : []);
    for (const ofServer of byServer(items)) {
      lanes.add(() => runServer(dependencies, context, { ...share, seats }, ofServer));
    }
  };
  try {
    while (!lanes.areBroken() && !share.lost.aborted) {
      if (context.draining.aborted) {
        if (isGuest) break;
        // Nobody begins anything any more that the next worker would have to take out of their hands.
        if (!isWithheld) await context.transaction((tx) => withholdSteps(tx, share.batchId));
        isWithheld = true;
      }
      const claims = await claim(context, share);
      const taken = await loadSteps(dependencies.database.db, claims.steps);
      if (taken.length > 0) {
        await share.onTaken?.(taken);
        lookMs = FIRST_LOOK_MS;
        // Of more than can be worked on at once, some have the new build before others begin in any case.
        const servers = new Set(taken.map(({ server }) => server.id)).size + claims.openServers;
        begin(taken, servers <= share.work.options.concurrency);
      }
      const isLeft = claims.openServers > 0 && !share.signal.aborted;
      const areOthersAtIt = claims.othersSteps > 0;
      if (!isLeft && (isGuest || !areOthersAtIt)) break;
      if (isGuest && lanes.isEmpty()) break;
      if (!isGuest && claims.areStepsLost) {
        const left = await takeOver(dependencies, context, share);
        begin(left.open);
        lanes.add(() => cleanUp(dependencies, context, share, left.ended));
      }
      // What others end, or leave for longer, makes room here; what this worker has ended does so at once.
      await lanes.someEnded(isLeft ? LEAVE_MS : lookMs, share.lost);
      lookMs = Math.min(LAST_LOOK_MS, lookMs * 2);
    }
  } finally {
    await lanes.allEnded();
  }
  share.lost.throwIfAborted();
  return steps;
}

function claim(context: JobContext, share: Share): Promise<StepClaims> {
  const { deployment, options, phase } = share.work;
  return context.transaction((tx) =>
    claimSteps(tx, {
      batchId: share.batchId,
      deploymentId: deployment.id,
      phase,
      jobId: context.jobId,
      concurrency: share.signal.aborted ? 0 : options.concurrency,
      // A rollback goes on whatever fails: each server that has its old build back is better off.
      maxFailures: phase === 'rollback' ? null : options.max_failures,
    }),
  );
}

/** What lost workers have left. */
async function takeOver(
  { database }: JobDependencies,
  context: JobContext,
  share: Share,
): Promise<{ readonly open: StepWork[]; readonly ended: StepWork[] }> {
  const { batchId } = share;
  return await context.transaction(async (tx) => {
    const left = await takeOverSteps(tx, { batchId, jobId: context.jobId });
    const open = await loadSteps(database.db, left.open);
    const ended = await loadSteps(database.db, left.ended);
    await share.onTakenOver?.(tx, [...open, ...ended]);
    return { open, ended };
  });
}

/** Leaves nothing of steps on their servers whose worker died between their end and the clearing up after it. */
export function cleanUp(
  dependencies: JobDependencies,
  context: JobContext,
  share: Pick<Share, 'work' | 'fences' | 'signal' | 'lost'>,
  ended: readonly StepWork[],
): Promise<void> {
  return eachLimited(ended, share.work.options.concurrency, (item) =>
    cleanUpAfter(dependencies, context, item, stepRun(share, item)),
  );
}

/** Each step comes to its end, whatever happens to another one: nothing may go on unseen. */
async function runServer(
  dependencies: JobDependencies,
  context: JobContext,
  share: Share & { readonly seats: ReadonlyMap<string, Seat> },
  items: readonly StepWork[],
): Promise<void> {
  const ends = await Promise.allSettled(
    items.map(async (item) => {
      const seat = share.seats.get(item.step.id);
      const run = { ...stepRun(share, item), ...(seat !== undefined && { seat }) };
      await runStep(dependencies, context, item, run).finally(() => seat?.leave());
    }),
  );
  share.onDone?.(items);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** What a step of a share needs beside its own rows. */
export function stepRun(
  { work, fences, signal, lost }: Pick<Share, 'work' | 'fences' | 'signal' | 'lost'>,
  { step }: StepWork,
): StepRun {
  // Without a target it is not run, only brought to its end.
  const commit = step.targetCommit ?? step.toCommit ?? '';
  return { work, fences, commit, staged: step.isStaged, signal, lost };
}

function byServer(steps: readonly StepWork[]): Iterable<StepWork[]> {
  const groups = new Map<string, StepWork[]>();
  for (const item of steps) getOrAdd(groups, item.server.id, () => []).push(item);
  return groups.values();
}
