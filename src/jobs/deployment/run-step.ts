import type { Drift } from '../../domain/census.ts';
import { AppError, type ErrorCode, toErrorBody } from '../../domain/errors.ts';
import type { SwitchAnswer } from '../../remote/switch.ts';
import type { Db } from '../../store/database.ts';
import { finishStep, type StepStart, startStep } from '../../store/deployments.ts';
import { markDrift, recordDeployed, restoreInstallation } from '../../store/installations.ts';
import type { Fences } from '../../store/leases.ts';
import { connectServer } from '../connect-server.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { pause } from '../pause.ts';
import type { PhaseWork, StepWork } from './deployment-work.ts';
import { runActions } from './run-actions.ts';
import { stageObjects } from './stage-objects.ts';
import { openStepLog, type StepLog } from './step-log.ts';
import { revertClone, switchClone } from './switch-clone.ts';

/** What a step needs beside its own rows. */
export interface StepRun {
  readonly work: PhaseWork;
  readonly fences: Fences;
  /** The commit that the step brings. */
  readonly commit: string;
  /** True if the objects are on the server already. */
  readonly staged: boolean;
  /** Aborted when the step is to end: cancelled, or as `lost`. */
  readonly signal: AbortSignal;
  /** Aborted when the server may no longer be touched: the lease or the job is another's. */
  readonly lost: AbortSignal;
}

export type StepEnd = 'succeeded' | 'failed' | 'cancelled';

/** What a failure says of the clone; the observer looks closer later. */
const DRIFT_SEEN: Partial<Record<ErrorCode, Drift>> = {
  merge_failed: 'modified',
  clone_missing: 'moved',
  server_unreachable: 'unreachable',
};

const MAX_TRIES = 3;
const RETRY_MS = 1000;

/**
 * Brings one gitdeploy on one server to its commit: prepull, switch, postpull. A server that cannot be reached is
 * tried again; all else fails at once. A cancel ends what prepull and postpull run, but not a switch.
 * @returns how it ended, which stands in the step's row, too
 * @throws only if the worker itself must stop (the lease or the database is lost)
 */
export async function runStep(
  dependencies: JobDependencies,
  context: JobContext,
  item: StepWork,
  run: StepRun,
): Promise<StepEnd> {
  const names = { server: item.server.name, gitdeploy: item.gitdeploy.name };
  const record = (data: object, change: (tx: Db) => Promise<void>): Promise<void> =>
    context.record('step', { ...names, phase: run.work.phase, ...data }, change);
  const log = openStepLog(context, names);
  const start = startOf(item, run);
  const undo: Undo = { switched: null };
  try {
    for (let attempt = 1; ; attempt += 1) {
      // Counted over all workers that had it: one that takes it up again is told apart from the one before.
      await record({ status: 'running', attempt: item.step.attempts + attempt }, (tx) =>
        startStep(tx, item.step.id, start),
      );
      try {
        const staged = run.staged && attempt === 1;
        await deployOnce(dependencies, context, item, { ...run, undo, staged, log });
        const logExcerpt = await log.close();
        await record({ status: 'succeeded', commit: run.commit }, (tx) =>
          finishStep(tx, item.step.id, { status: 'succeeded', logExcerpt }),
        );
        return 'succeeded';
      } catch (error) {
        run.lost.throwIfAborted();
        if (context.cancelled.aborted) {
          const logExcerpt = await log.close();
          await record({ status: 'cancelled' }, (tx) =>
            finishStep(tx, item.step.id, { status: 'cancelled', logExcerpt }),
          );
          return 'cancelled';
        }
        if (!(error instanceof AppError) || error.code === 'service_unavailable') throw error;
        if (!error.retryable || attempt === MAX_TRIES) {
          const body = toErrorBody(error);
          const seen = DRIFT_SEEN[error.code];
          const logExcerpt = await log.close();
          await record({ status: 'failed', error: body }, async (tx) => {
            if (seen !== undefined) await markDrift(tx, item.installation.id, seen);
            await finishStep(tx, item.step.id, { status: 'failed', error: body, logExcerpt });
          });
          return 'failed';
        }
        const retrying = { status: 'retrying', attempt: item.step.attempts + attempt };
        await context.emit('step', {
          ...names,
          phase: run.work.phase,
          ...retrying,
          error: toErrorBody(error),
        });
        await pause(RETRY_MS * attempt, run.signal);
      }
    }
  } finally {
    await log.close();
  }
}

/** The switch that a step would take back: its own, also of an earlier try that broke off before it could. */
interface Undo {
  switched: SwitchAnswer | null;
}

/** What the server has before the step, for a rollback. It is what it was before the first try that changed it. */
function startOf({ step, installation }: StepWork, run: StepRun): StepStart {
  const isBegun = step.fromCommit !== null && installation.deploymentId === run.work.deployment.id;
  const from =
    isBegun || run.work.phase === 'rollback'
      ? { commit: step.fromCommit, buildId: step.fromBuildId }
      : { commit: installation.deployedCommit, buildId: installation.deployedBuildId };
  return {
    fromCommit: from.commit ?? installation.deployedCommit,
    fromBuildId: from.buildId,
    toCommit: run.commit,
  };
}

async function deployOnce(
  dependencies: JobDependencies,
  context: JobContext,
  item: StepWork,
  run: StepRun & { readonly undo: Undo; readonly log: StepLog },
): Promise<void> {
  const { config } = dependencies;
  const { log } = run;
  const { gitdeploy, installation, server } = item;
  const deploymentId = run.work.deployment.id;
  const { connection } = await connectServer(dependencies, server, run.signal);
  if (!run.staged) {
    await stageObjects(dependencies, connection, {
      work: item,
      want: run.commit,
      signal: run.signal,
    });
  }
  const { path, actions } = gitdeploy;
  const actionsRun = { connection, path, timeoutMs: config.stepTimeoutMs, signal: run.signal, log };
  await runActions('prepull', actions.prepull, actionsRun);
  run.signal.throwIfAborted();
  const { fences, commit, lost } = run;
  const clone = { config, connection, item, deploymentId, fences, commit, lost, log };
  const { undo } = run;
  const switched = await switchClone(clone);
  if (switched.state !== 'unchanged') undo.switched = switched;
  await context.transaction((tx) =>
    recordDeployed(tx, installation.id, {
      buildId: item.step.toBuildId,
      commit: run.commit,
      head: switched.head,
      deploymentId,
    }),
  );
  try {
    await runActions('postpull', actions.postpull, actionsRun);
  } catch (error) {
    // A step that does not succeed leaves its server on the build it had (API.md).
    if (error instanceof AppError && undo.switched !== null) {
      await revertClone(clone, undo.switched);
      undo.switched = null;
      await context.transaction((tx) => restoreInstallation(tx, installation));
    }
    throw error;
  }
}
