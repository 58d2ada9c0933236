import { deploymentLifecycle, isFinal } from '../../domain/deployment-state.ts';
import { AppError, toErrorBody } from '../../domain/errors.ts';
import type { WaitingFor } from '../../domain/waiting-for.ts';
import type { Db } from '../../store/database.ts';
import {
  type DeploymentHead,
  type DeploymentRow,
  findDeployment,
  findOlderOverlap,
  lockDeployment,
  moveDeployment,
  noteRequests,
} from '../../store/deployments.ts';
import { appendEvent } from '../../store/events.ts';
import { isBatchApproved } from '../../store/gates.ts';
import { requestJobCancel } from '../../store/jobs.ts';
import { endJoinedJobs, inviteWorkers } from '../../store/joined-jobs.ts';
import { openRollback } from '../../store/rollbacks.ts';
import { freeSteps } from '../../store/step-claims.ts';
import type { JobDependencies } from '../dependencies.ts';
import { eachLimited } from '../each-limited.ts';
import type { JobContext, JobHandler, JobOutcome } from '../handler.ts';
import { type HeldLeases, holdLeases, pathLeaseSeconds } from '../hold-leases.ts';
import { commitPackages } from './commit-packages.ts';
import { commitRollback } from './commit-rollback.ts';
import {
  deploymentOf,
  failureOf,
  leaseHolder,
  recordCancel,
  recordFailure,
  recordSuccess,
  rollbackFailureOf,
  takenBack,
  takesItselfBack,
} from './deployment-end.ts';
import {
  allSteps,
  branchKey,
  type DeploymentWork,
  isOpen,
  keyOf,
  loadDeploymentWork,
  loadRollbackWork,
  type PhaseWork,
  type StepWork,
} from './deployment-work.ts';
import { isLeftOut } from './left-out.ts';
import { findOutdatedSteps } from './outdated-steps.ts';
import { freezeBefore, tellWaiting } from './pass-gates.ts';
import { passPreflight } from './pass-preflight.ts';
import { type BatchesEnd, runBatches } from './run-batches.ts';
import { stepRun } from './run-share.ts';
import { runStep } from './run-step.ts';
import { stageAhead } from './stage-objects.ts';

/** How soon a deployment asks again for servers that another one works on: the longer it waits, the later. */
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 10_000;
/** A paused deployment is woken by who resumes it; should that be lost, it looks for itself. */
const PAUSED_LOOK_MS = 3_600_000;
/** How soon a deployment that a freeze holds back looks whether it still does. */
const FREEZE_LOOK_MS = 30_000;

/**
 * Runs a deployment, or takes it up where another worker left it: commit, stage on all servers, then batch by
 * batch; or the same backwards, if it is being rolled back. What is done is read from the rows, so it may be started
 * over at any point. While it waits, for other deployments or in a pause, its job is put back and its leases stay.
 */
export function runDeploymentHandler(dependencies: JobDependencies): JobHandler<'run_deployment'> {
  const { db } = dependencies.database;
  return {
    isRunThoughCancelled: true,
    run: async ({ deploymentId }, context) => {
      // Whoever has joined the worker before is sent away: what they had in hand is taken up here.
      await context.transaction(async (tx) => {
        await endJoinedJobs(tx, deploymentId);
        await freeSteps(tx, deploymentId);
      });
      const deployment = await findDeployment(db, deploymentId);
      if (deployment === null) return { outcome: 'succeeded', result: { deleted: true } };
      if (context.cancelled.aborted) return endCancelled(dependencies, context, deployment);
      if (isTakenOver(deployment)) return giveWay(context, deployment);
      switch (deployment.status) {
        case 'queued':
        case 'preparing':
        case 'running':
          return runForward(dependencies, context, deployment);
        case 'rolling_back':
          return runRollback(dependencies, context, deployment);
        case 'paused':
          return lookAgain(deploymentId, () => Promise.resolve(PAUSED_LOOK_MS));
        case 'succeeded':
        case 'failed':
        case 'cancelled':
        case 'rolled_back':
          return resultOf(deployment, deployment.status);
      }
    },
    deploymentOf: ({ deploymentId }) => deploymentId,
    succeeded: (tx, { deploymentId }) => recordSuccess(tx, deploymentId),
    failed: (tx, { deploymentId }, error) => recordFailure(tx, deploymentId, error),
    cancelled: (tx, { deploymentId }) => recordCancel(tx, deploymentId),
  };
}

async function runForward(
  dependencies: JobDependencies,
  context: JobContext,
  deployment: DeploymentRow,
): Promise<JobOutcome> {
  const { db } = dependencies.database;
  if (deployment.status === 'queued') {
    // Whoever was asked for first goes first; else the older build could come out on top.
    const older = await findOlderOverlap(db, deployment);
    if (older !== null) return waitFor(context, { deployment, heldBy: older });
  }
  const work = await loadDeploymentWork(db, deployment);
  if (deployment.status === 'queued') {
    const frozen = await freezeBefore(db, work);
    if (frozen !== null) {
      await tellWaiting(context, deployment, frozen);
      return waitAtGate(deployment.id, frozen);
    }
  }
  return whileHolding(dependencies, context, work, async (held) => {
    const end = await deploy(dependencies, context, { work, held });
    switch (end.end) {
      case 'done':
      case 'stopped':
        return concludeForward(dependencies, context, deployment, end.end);
      case 'cancelled':
        throw context.cancelled.reason;
      case 'interrupted':
        return { outcome: 'again', afterMs: 0 };
      case 'paused':
        return pauseHere(context, deployment.id);
      case 'superseded':
        return giveWay(context, deployment);
      case 'waiting':
        return waitAtGate(deployment.id, end.waitingFor);
    }
  });
}

async function deploy(
  dependencies: JobDependencies,
  context: JobContext,
  begun: { work: DeploymentWork; held: HeldLeases },
): Promise<BatchesEnd> {
  const { id, status } = begun.work.deployment;
  if (status === 'queued') {
    const startedAt = begun.work.deployment.startedAt ?? new Date();
    await context.record('deployment', { status: 'preparing' }, async (tx) => {
      await moveDeployment(tx, id, { from: ['queued'], to: 'preparing', startedAt });
      // So early that they are there when the first batch begins.
      await inviteWorkers(tx);
    });
  }
  const signal = AbortSignal.any([begun.held.lost, context.cancelled]);
  const isRetried = begun.work.deployment.commits.length > 0;
  const run = isRetried
    ? { ...begun, signal }
    : await lookFirst(dependencies, context, { ...begun, signal });
  const { work } = run;
  const commits = await commitPackages(dependencies, context, work);
  const commitOf = ({ gitdeploy }: StepWork): string => {
    const commit = commits.get(branchKey(gitdeploy));
    if (commit === undefined) throw new AppError('internal', 'A step has no commit.');
    return commit.commit;
  };
  const unstaged = await stage(dependencies, context, { ...run, commitOf });
  if (status !== 'running') {
    await context.record('deployment', { status: 'running' }, async (tx) => {
      await moveDeployment(tx, id, { from: ['preparing'], to: 'running' });
    });
  }
  const outdated = isRetried ? await findOutdatedSteps(dependencies, work, commitOf) : new Map();
  return runBatches(dependencies, context, { ...run, commitOf, unstaged, outdated });
}

/** Before the first commit: looks at all servers. @returns the work, without what is left out */
async function lookFirst<Run extends { work: DeploymentWork; signal: AbortSignal }>(
  dependencies: JobDependencies,
  context: JobContext,
  run: Run,
): Promise<Run> {
  const isChanged = await passPreflight(dependencies, context, run);
  run.signal.throwIfAborted();
  if (!isChanged) return run;
  const { db } = dependencies.database;
  const deployment = await findDeployment(db, run.work.deployment.id);
  return deployment === null ? run : { ...run, work: await loadDeploymentWork(db, deployment) };
}

async function stage(
  dependencies: JobDependencies,
  context: JobContext,
  run: { work: PhaseWork; commitOf: (step: StepWork) => string; signal: AbortSignal },
): Promise<ReadonlySet<string>> {
  const unstaged = await stageAhead(dependencies, context, {
    work: run.work,
    steps: allSteps(run.work).filter(isOpen),
    wantOf: run.commitOf,
    signal: run.signal,
  });
  run.signal.throwIfAborted();
  return unstaged;
}

/** All batches are through, or too many servers have failed. */
async function concludeForward(
  { database }: JobDependencies,
  context: JobContext,
  { id }: DeploymentRow,
  end: 'done' | 'stopped',
): Promise<JobOutcome> {
  const deployment = await findDeployment(database.db, id);
  if (deployment === null) return { outcome: 'succeeded', result: { deleted: true } };
  const isWhole = deployment.batches.every((b) =>
    b.steps.every((s) => s.status === 'succeeded' || isLeftOut(s)),
  );
  if (end === 'done' && isWhole) return resultOf(deployment, 'succeeded');
  // The transaction that records the job's failure records the deployment's, too.
  const failure = failureOf(deployment);
  if (end === 'done' || deployment.options.on_failure === 'stop') throw failure;
  const isTurned = await context.transaction(async (tx) => {
    const locked = await lockDeployment(tx, id);
    if (locked?.status !== 'running' || locked.cancelRequestedAt !== null) return false;
    const error = toErrorBody(failure);
    await openRollback(tx, deployment, { error });
    await appendEvent(tx, {
      jobId: context.jobId,
      deploymentId: id,
      kind: 'deployment',
      data: { status: 'rolling_back', error },
    });
    return true;
  });
  if (!isTurned) throw failure;
  return { outcome: 'again', afterMs: 0 };
}

async function runRollback(
  dependencies: JobDependencies,
  context: JobContext,
  deployment: DeploymentRow,
): Promise<JobOutcome> {
  const { db } = dependencies.database;
  const work = await loadRollbackWork(db, deployment);
  return whileHolding(dependencies, context, work, async (held) => {
    const commitOf = await commitRollback(dependencies, context, work);
    const run = { work, held, commitOf, signal: held.lost };
    const unstaged = await stage(dependencies, context, run);
    const outdated = new Map();
    const { end } = await runBatches(dependencies, context, { ...run, unstaged, outdated });
    if (end === 'interrupted') return { outcome: 'again', afterMs: 0 };
    const after = await findDeployment(db, deployment.id);
    if (after === null) return { outcome: 'succeeded', result: { deleted: true } };
    if (after.rollbackBatches.some((b) => b.status !== 'succeeded')) throw rollbackFailureOf(after);
    if (takesItselfBack(after)) throw takenBack(after);
    return resultOf(after, 'rolled_back');
  });
}

/**
 * Of a deployment that was cancelled while no worker had it: ends what its steps have begun on servers, as a worker that
 * had it would have done.
 */
async function endCancelled(
  dependencies: JobDependencies,
  context: JobContext,
  deployment: DeploymentRow,
): Promise<JobOutcome> {
  const hasBegun = deployment.batches.some((b) => b.steps.some((s) => s.status === 'running'));
  if (deployment.status !== 'running' || !hasBegun) throw context.cancelled.reason;
  const work = await loadDeploymentWork(dependencies.database.db, deployment);
  const done = await whileHolding(dependencies, context, work, async (held) => {
    const share = { work, fences: held.fences, signal: context.cancelled, lost: held.lost };
    const begun = allSteps(work).filter(({ step }) => step.status === 'running');
    await eachLimited(begun, work.options.concurrency, (item) =>
      runStep(dependencies, context, item, stepRun(share, item)),
    );
    throw context.cancelled.reason;
  });
  // Somebody else has its servers by now, and nothing of it goes on there.
  if (done.outcome === 'again') throw context.cancelled.reason;
  return done;
}

/** Does the work of a phase under the leases of all its clones; keeps them if the job is only put back. */
async function whileHolding(
  dependencies: JobDependencies,
  context: JobContext,
  work: PhaseWork,
  run: (held: HeldLeases) => Promise<JobOutcome>,
): Promise<JobOutcome> {
  const { deployment } = work;
  const request = {
    keys: allSteps(work).map(keyOf),
    holder: leaseHolder(deployment.id),
    leaseSeconds: pathLeaseSeconds(dependencies.config),
    signal: context.lost,
  };
  const done = await holdLeases(dependencies.database, request, async (held) => {
    const outcome = await run(held);
    return { value: outcome, keep: outcome.outcome === 'again' };
  });
  if (done.held) return done.value;
  return waitFor(context, { deployment, heldBy: done.heldBy });
}

/** Another deployment takes over. A rollback is brought to its end all the same. */
function isTakenOver({ supersededById, status }: DeploymentHead): boolean {
  return (
    supersededById !== null && !isFinal(deploymentLifecycle, status) && status !== 'rolling_back'
  );
}

/** At a safe point: ends as if a user had cancelled it, so that the one that waits for it can begin. */
async function giveWay(context: JobContext, { id }: DeploymentHead): Promise<never> {
  await context.transaction(async (tx) => {
    const deployment = await lockDeployment(tx, id);
    if (deployment === null || deployment.cancelRequestedAt !== null) return;
    await noteRequests(tx, id, { cancelRequestedAt: new Date() });
    await requestJobCancel(tx, context.jobId);
  });
  throw new AppError('superseded', 'Another deployment has taken over.');
}

/** Its turn will come; its stream says only once what it waits for. */
async function waitFor(
  context: JobContext,
  { deployment, heldBy }: { deployment: DeploymentRow; heldBy: string },
): Promise<JobOutcome> {
  const waitingFor = { kind: 'deployment' as const, deployment_id: deploymentOf(heldBy) };
  await tellWaiting(context, deployment, waitingFor);
  const waitedMs = Date.now() - deployment.createdAt.getTime();
  return {
    outcome: 'again',
    afterMs: Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, waitedMs / 20)),
  };
}

/** The safe point that a user's pause has waited for. */
async function pauseHere(context: JobContext, id: string): Promise<JobOutcome> {
  await context.transaction(async (tx) => {
    const deployment = await lockDeployment(tx, id);
    // Withdrawn meanwhile.
    if (deployment === null || deployment.pauseRequestedAt === null) return;
    if (!(await moveDeployment(tx, id, { from: ['running'], to: 'paused' }))) return;
    await appendEvent(tx, {
      jobId: context.jobId,
      deploymentId: id,
      kind: 'deployment',
      data: { status: 'paused' },
    });
  });
  return lookAgain(id, () => Promise.resolve(PAUSED_LOOK_MS));
}

/** Puts the job back until a gate opens; at once, if it has been opened in the moment in between. */
function waitAtGate(deploymentId: string, waitingFor: WaitingFor): JobOutcome {
  const wait = async (tx: Db, deployment: DeploymentHead): Promise<number> => {
    switch (waitingFor.kind) {
      case 'approval':
        return (await isBatchApproved(tx, deploymentId, waitingFor.after_batch))
          ? 0
          : PAUSED_LOOK_MS;
      case 'freeze':
        // A freeze window can be deleted at any time, which nobody tells.
        if (deployment.options.override_freeze) return 0;
        return Math.min(FREEZE_LOOK_MS, msUntil(waitingFor.until));
      case 'pause':
        return msUntil(waitingFor.until);
      case 'deployment':
        return MIN_RETRY_MS;
    }
  };
  return lookAgain(deploymentId, wait);
}

const msUntil = (time: string): number => Math.max(0, Date.parse(time) - Date.now());

/** Puts the job back for a while; at once, if a user has asked for something in the moment in between. */
function lookAgain(
  deploymentId: string,
  wait: (tx: Db, deployment: DeploymentHead) => Promise<number>,
): JobOutcome {
  const delay = async (tx: Db): Promise<number> => {
    const deployment = await lockDeployment(tx, deploymentId);
    if (deployment === null || deployment.cancelRequestedAt !== null) return 0;
    const { status, pauseRequestedAt } = deployment;
    if (isTakenOver(deployment)) return 0;
    if (status === 'paused') return PAUSED_LOOK_MS;
    const isWaiting = status === 'running' || status === 'queued';
    return isWaiting && pauseRequestedAt === null ? wait(tx, deployment) : 0;
  };
  return { outcome: 'again', afterMs: delay };
}

function resultOf(deployment: DeploymentRow, status: string): JobOutcome {
  return { outcome: 'succeeded', result: { deployment_id: deployment.id, status } };
}
