import { AppError, toErrorBody } from '../../domain/errors.ts';
import { finishStep, startStep } from '../../store/deployments.ts';
import { recordDeployed, restoreInstallation } from '../../store/installations.ts';
import type { Lease } from '../../store/leases.ts';
import { connectServer } from '../connect-server.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { pause } from '../pause.ts';
import type { DeploymentWork, StepWork } from './deployment-work.ts';
import { runActions } from './run-actions.ts';
import { stageObjects } from './stage-objects.ts';
import { openStepLog, type StepLog } from './step-log.ts';
import { revertClone, switchClone } from './switch-clone.ts';

/** What a step needs beside its own rows. */
export interface StepRun {
  readonly work: DeploymentWork;
  readonly leases: readonly Lease[];
  /** The commit that the step brings. */
  readonly commit: string;
  /** True if the objects are on the server already. */
  readonly staged: boolean;
  readonly signal: AbortSignal;
}

const MAX_TRIES = 3;
const RETRY_MS = 1000;

/**
 * Brings one gitdeploy on one server to its commit: prepull, switch, postpull. A server that cannot be reached is
 * tried again; all else fails at once.
 * @returns whether it succeeded; how it failed stands in the step's row
 * @throws only if the worker itself must stop (the lease or the database is lost)
 */
export async function runStep(
  dependencies: JobDependencies,
  context: JobContext,
  item: StepWork,
  run: StepRun,
): Promise<boolean> {
  const { db } = dependencies.database;
  const names = { server: item.server.name, gitdeploy: item.gitdeploy.name };
  const deploymentId = run.work.deployment.id;
  const emit = (data: object): Promise<void> =>
    context.emit('step', { ...names, ...data }, deploymentId);
  const log = openStepLog(context, { deploymentId, ...names });
  try {
    for (let attempt = 1; ; attempt += 1) {
      await startStep(db, item.step.id, {
        fromCommit: item.installation.deployedCommit,
        toCommit: run.commit,
      });
      await emit({ status: 'running', attempt });
      try {
        await deployOnce(dependencies, item, { ...run, staged: run.staged && attempt === 1 }, log);
        await finishStep(db, item.step.id, { status: 'succeeded', logExcerpt: await log.close() });
        await emit({ status: 'succeeded', commit: run.commit });
        return true;
      } catch (error) {
        run.signal.throwIfAborted();
        if (!(error instanceof AppError) || error.code === 'service_unavailable') throw error;
        if (!error.retryable || attempt === MAX_TRIES) {
          const body = toErrorBody(error);
          await finishStep(db, item.step.id, {
            status: 'failed',
            error: body,
            logExcerpt: await log.close(),
          });
          await emit({ status: 'failed', error: body });
          return false;
        }
        await emit({ status: 'retrying', attempt, error: toErrorBody(error) });
        await pause(RETRY_MS * attempt, run.signal);
      }
    }
  } finally {
    await log.close();
  }
}

async function deployOnce(
  dependencies: JobDependencies,
  item: StepWork,
  run: StepRun,
  log: StepLog,
): Promise<void> {
  const { config, database } = dependencies;
  const { gitdeploy, installation, server } = item;
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
  const clone = {
    config,
    connection,
    item,
    deploymentId: run.work.deployment.id,
    leases: run.leases,
    commit: run.commit,
    signal: run.signal,
    log,
  };
  const switched = await switchClone(clone);
  await recordDeployed(database.db, installation.id, {
    buildId: run.work.build.id,
    commit: run.commit,
    head: switched.head,
    deploymentId: run.work.deployment.id,
  });
  try {
    await runActions('postpull', actions.postpull, actionsRun);
  } catch (error) {
    // A step that fails leaves its server on the build it had (API.md).
    if (error instanceof AppError && switched.state !== 'unchanged') {
      await revertClone(clone, switched);
      await restoreInstallation(database.db, installation);
    }
    throw error;
  }
}
