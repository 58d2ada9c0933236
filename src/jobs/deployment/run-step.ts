import { AppError, type ErrorBody, type ErrorCode, toErrorBody } from '../../domain/errors.ts';
import type { Db } from '../../store/database.ts';
import {
  markDrift,
  markMissing,
  recordDeployed,
  restoreInstallation,
} from '../../store/installations.ts';
import type { Fences } from '../../store/leases.ts';
import { findCommitOrigin } from '../../store/observations.ts';
import { finishSteps, type StepStart, startSteps } from '../../store/steps.ts';
import { bulkChange } from '../bulk-change.ts';
import { connectServer } from '../connect-server.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { pause } from '../pause.ts';
import type { Seat } from './barrier.ts';
import type { PhaseHead, StepWork } from './deployment-work.ts';
import { endRuns, runActions } from './run-actions.ts';
import { runChecks } from './run-checks.ts';
import { stageObjects } from './stage-objects.ts';
import { openStepLog, type StepLog } from './step-log.ts';
import { advance, installationBefore, type StepTrack, trackOf } from './step-track.ts';
import {
  type CloneRun,
  describeSwitch,
  pruneReleases,
  revertClone,
  runsOf,
  switchClone,
} from './switch-clone.ts';

/** What a step needs beside its own rows. */
export interface StepRun {
  readonly work: PhaseHead;
  readonly fences: Fences;
  /** The commit that the step brings. */
  readonly commit: string;
  /** True if the objects are on the server already. */
  readonly staged: boolean;
  /** Aborted when the step is to end: cancelled, or as `lost`. */
  readonly signal: AbortSignal;
  /** Aborted when the server may no longer be touched: the lease or the job is another's. */
  readonly lost: AbortSignal;
  /** Of a step that switches together with others. */
  readonly seat?: Seat;
}

/** Notes what a failure says of the clone; the observer looks closer later. */
export async function noteSeen(
  tx: Db,
  { installation }: Pick<StepWork, 'installation'>,
  code: ErrorCode,
): Promise<void> {
  if (code === 'clone_missing') await markMissing(tx, installation.id);
  if (code === 'merge_failed') await markDrift(tx, installation.id, 'modified');
  if (code === 'server_unreachable') await markDrift(tx, installation.id, 'unreachable');
}

/** What all steps of a batch write at much the same time. */
const begin = bulkChange(startSteps);
const noteDeployed = bulkChange(recordDeployed);
const finish = bulkChange(finishSteps);

const MAX_TRIES = 3;
const RETRY_MS = 1000;

/**
 * Brings one gitdeploy on one server to its commit: prepull, switch, postpull. A server that cannot be reached is
 * tried again, from where the step is by then; all else fails at once. A cancel ends what prepull and postpull run, but
 * not a switch. A step that another worker has begun is taken up where that one lost it.
 * How it ended stands in the step's row.
 * @throws only if the worker itself must stop (the lease or the database is lost)
 */
export async function runStep(
  dependencies: JobDependencies,
  context: JobContext,
  item: StepWork,
  run: StepRun,
): Promise<void> {
  const names = { server: item.server.name, gitdeploy: item.gitdeploy.name };
  const log = openStepLog(context, { stepId: item.step.id, ...names });
  const track = trackOf(item);
  const step = { dependencies, context, item, ...run, track, log };
  try {
    const { status, ...told } = leftOut(step, await tryStep(step));
    const logExcerpt = await log.close();
    const { error } = told;
    // By now it is stored how far it got. Before its end is: nobody comes back to what has ended. A failure is told by
    // what is cleared up, so that it is recorded first.
    if (status === 'succeeded') await cleanUp(step);
    await context.record(
      'step',
      { ...names, phase: run.work.phase, status, ...told },
      error === undefined
        ? finish({ id: item.step.id, status, logExcerpt })
        : async (tx) => {
            await noteSeen(tx, item, error.code);
            await finishSteps(tx, [{ id: item.step.id, status, logExcerpt, error }]);
          },
    );
    if (status !== 'succeeded') await cleanUp(step);
  } finally {
    await log.close();
  }
}

/** A step with all that it works with. */
interface TrackedStep extends StepRun {
  readonly dependencies: JobDependencies;
  readonly context: JobContext;
  readonly item: StepWork;
  readonly track: StepTrack;
  readonly log: StepLog;
}

/** A step that has not reached its server, if the deployment wants that, counts as left out. */
function leftOut(step: TrackedStep, ending: Ending): Ending | LeftOut {
  const { work, track } = step;
  const isWanted = work.phase === 'forward' && work.options.unreachable === 'skip';
  const isUntouched = track.progress.switched === null;
  if (!isWanted || !isUntouched || ending.error?.code !== 'server_unreachable') return ending;
  return { status: 'skipped', error: ending.error };
}

interface LeftOut {
  readonly status: 'skipped';
  readonly error: ErrorBody;
}

/** How a step ended, as its stream tells it. */
type Ending =
  | { readonly status: 'succeeded'; readonly commit: string; readonly error?: never }
  | { readonly status: 'cancelled'; readonly error?: never }
  | { readonly status: 'failed'; readonly error: ErrorBody };

async function tryStep(step: TrackedStep): Promise<Ending> {
  const { context, item, track } = step;
  const { cancelled } = context;
  const start = await startOf(step.dependencies.database.db, item, step);
  const data = {
    server: item.server.name,
    gitdeploy: item.gitdeploy.name,
    phase: step.work.phase,
  };
  for (let number = 1, tries = 1; ; number += 1, tries += 1) {
    // Counted over all workers that had it: one that takes it up again is told apart from the one before.
    const attempt = item.step.attempts + number;
    const isFresh = number === 1 && !track.isTakenUp;
    await context.record(
      'step',
      { ...data, status: 'running', attempt },
      begin({ ...start, ...(isFresh && { progress: track.progress }) }),
    );
    const { progress } = track;
    try {
      await deployOnce(step, { staged: step.staged && number === 1 });
      return { status: 'succeeded', commit: step.commit };
    } catch (error) {
      step.seat?.leave();
      step.lost.throwIfAborted();
      // Who has got further has reached the server.
      if (track.progress !== progress) tries = 1;
      const isPassing = (failure: unknown): boolean =>
        failure instanceof AppError && failure.retryable && tries < MAX_TRIES && !cancelled.aborted;
      if (!cancelled.aborted && isOfMuster(error)) throw error;
      const failure = isPassing(error) ? error : await takeBack(step, error);
      step.lost.throwIfAborted();
      if (cancelled.aborted) return { status: 'cancelled' };
      if (isOfMuster(failure)) throw failure;
      if (!isPassing(failure)) return { status: 'failed', error: toErrorBody(failure) };
      await context.emit('step', {
        ...data,
        status: 'retrying',
        attempt,
        error: toErrorBody(failure),
      });
      await pause(RETRY_MS * tries, step.signal);
    }
  }
}

/** Whether an error says nothing of the step, but of Muster itself: then the step is taken up again as it stands. */
function isOfMuster(error: unknown): boolean {
  return !(error instanceof AppError) || error.code === 'service_unavailable';
}

/** What the server has before the step, for a rollback. It is what it was before the first try that changed it. */
async function startOf(
  db: Db,
  { step, installation, gitdeploy }: StepWork,
  run: StepRun,
): Promise<StepStart> {
  const toCommit = run.commit;
  const isBegun = step.fromCommit !== null && installation.deploymentId === run.work.deployment.id;
  const { id } = step;
  if (isBegun || run.work.phase === 'rollback') {
    const { fromCommit, fromBuildId } = step;
    return { id, fromCommit: fromCommit ?? installation.deployedCommit, fromBuildId, toCommit };
  }
  const { deployedCommit: commit, deployedBuildId } = installation;
  // Below commits made by hand, of which the row says no build, there may be one all the same.
  const origin =
    deployedBuildId === null
      ? await findCommitOrigin(db, { ...installation, gitrepoId: gitdeploy.gitrepoId, commit })
      : null;
  return {
    id,
    fromCommit: commit,
    fromBuildId: deployedBuildId ?? origin?.buildId ?? null,
    toCommit,
  };
}

async function deployOnce(step: TrackedStep, { staged }: { staged: boolean }): Promise<void> {
  const { context, item, commit, signal, track, log } = step;
  const { path, actions } = item.gitdeploy;
  const clone = await openClone(step, signal);
  const { config, connection, lost } = clone;
  if (!staged) {
    await stageObjects(step.dependencies, connection, { work: item, want: commit, signal });
  }
  const timeoutMs = config.stepTimeoutMs;
  const actionsRun = { ...runsOf(clone), path, timeoutMs, signal, lost, track, log };
  await runActions('prepull', actions.prepull, actionsRun);
  if (track.progress.stage === 'prepull') {
    signal.throwIfAborted();
    const answer = await switchClone(clone, step.seat);
    await context.change(
      noteDeployed({
        installationId: item.installation.id,
        buildId: item.step.toBuildId,
        commit,
        head: answer.head,
        deploymentId: clone.deploymentId,
        isModified: answer.modified,
      }),
    );
    const switched = answer.state === 'unchanged' ? null : answer;
    const progress = advance(track, { stage: 'postpull', state: 0, offset: 0, switched });
    // Before anything that may fail: whoever has to take the switch back must know what it was.
    if (hasStates(actions.postpull)) await log.store(describeSwitch(answer), progress);
    else log.write(describeSwitch(answer));
  }
  await runActions('postpull', actions.postpull, actionsRun);
  // What fails above or here takes the switch back.
  const { healthChecks } = item.gitdeploy;
  const address = addressOf(item.server);
  await runChecks(healthChecks, { connection, address, path, signal, log });
  const { switched } = track.progress;
  if (switched !== null) await pruneReleases(clone, switched);
}

/**
 * A step that does not succeed leaves its server on the build it had (API.md).
 * @returns why it has failed: as given, or that its switch could not be taken back
 */
async function takeBack(step: TrackedStep, failure: unknown): Promise<unknown> {
  const { context, item, lost, track } = step;
  const { switched } = track.progress;
  if (switched === null) return failure;
  try {
    await revertClone(await openClone(step, lost), switched);
    await context.transaction((tx) => restoreInstallation(tx, installationBefore(item, track)));
    return failure;
  } catch (error) {
    return error;
  }
}

/** Leaves nothing on the server of what prepull and postpull have run. What cannot be removed, the next step does. */
async function cleanUp(step: TrackedStep): Promise<void> {
  const { context, item, lost } = step;
  const { prepull, postpull } = item.gitdeploy.actions;
  if (!hasStates(prepull) && !hasStates(postpull)) return;
  try {
    await endRuns(runsOf(await openClone(step, lost)), lost);
  } catch (error) {
    context.log.info({ err: error, server: item.server.name }, 'runs were left on a server');
  }
}

/** Does for a step that has ended what its worker died before it could do: leaves nothing on the server. */
export async function cleanUpAfter(
  dependencies: JobDependencies,
  context: JobContext,
  item: StepWork,
  run: StepRun,
): Promise<void> {
  const { server, gitdeploy, step } = item;
  const names = { server: server.name, gitdeploy: gitdeploy.name };
  const log = openStepLog(context, { stepId: step.id, ...names });
  await cleanUp({ dependencies, context, item, ...run, track: trackOf(item), log }).finally(() =>
    log.close(),
  );
}

async function openClone(step: TrackedStep, signal: AbortSignal): Promise<CloneRun> {
  const { dependencies, item, work, fences, commit, lost, track, log } = step;
  const { config, depot } = dependencies;
  const { connection } = await connectServer(dependencies, item.server, signal);
  const deploymentId = work.deployment.id;
  return { config, depot, connection, item, deploymentId, fences, commit, lost, track, log };
}

/** Where a worker reaches what a server serves. */
function addressOf({ connection }: StepWork['server']): string {
  return connection.kind === 'ssh' ? connection.host : '127.0.0.1';
}

const hasStates = (forms: Readonly<Record<string, unknown>>): boolean =>
  Object.keys(forms).length > 0;
