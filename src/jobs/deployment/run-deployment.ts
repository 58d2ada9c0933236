import { AppError, type ErrorBody } from '../../domain/errors.ts';
import type { Db } from '../../store/database.ts';
import {
  closeOpenWork,
  countSteps,
  type DeploymentRow,
  findDeployment,
  moveDeployment,
} from '../../store/deployments.ts';
import { appendEvent, hasDeploymentEvent } from '../../store/events.ts';
import { type Lease, leaseKey } from '../../store/leases.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext, JobHandler, JobOutcome } from '../handler.ts';
import { holdLeases } from '../hold-leases.ts';
import { commitPackages } from './commit-packages.ts';
import {
  branchKey,
  type DeploymentWork,
  loadDeploymentWork,
  type StepWork,
} from './deployment-work.ts';
import { type BatchesEnd, runBatches } from './run-batches.ts';
import { stageAhead } from './stage-objects.ts';

/** How long a deployment waits before it asks again for servers that another one works on. */
const LEASE_RETRY_MS = 1000;
const UNDER_WAY = ['queued', 'preparing', 'running'] as const;

/**
 * Runs a deployment, or takes it up where another worker left it: commit, stage on all servers, then batch by
 * batch. What is done is read from the rows, so it may be started over at any point.
 */
export function runDeploymentHandler(dependencies: JobDependencies): JobHandler<'run_deployment'> {
  const { database } = dependencies;
  return {
    run: async ({ deploymentId }, context) => {
      const deployment = await findDeployment(database.db, deploymentId);
      if (deployment === null) return { outcome: 'succeeded', result: { deleted: true } };
      if (!isUnderWay(deployment)) return endOf(deployment);
      const work = await loadDeploymentWork(database.db, deployment);
      const steps = work.batches.flatMap((b) => b.steps);
      const request = {
        keys: steps.map(({ server, gitdeploy }) => leaseKey(server.id, gitdeploy.path)),
        holder: `deployment:${deploymentId}`,
        signal: context.signal,
      };
      const done = await holdLeases(database, request, async (leases, signal) => {
        const end = await deploy(dependencies, context, { work, steps, leases, signal });
        return { value: end, keep: end === 'interrupted' };
      });
      if (!done.held) {
        await tellOnce(dependencies, context, deploymentId, done.heldBy);
        return { outcome: 'again', afterMs: LEASE_RETRY_MS };
      }
      if (done.value === 'interrupted') return { outcome: 'again', afterMs: 0 };
      return finish(dependencies, deploymentId, done.value);
    },
    failed: (tx, { deploymentId }, error) => recordFailure(tx, deploymentId, error),
  };
}

async function deploy(
  dependencies: JobDependencies,
  context: JobContext,
  run: {
    work: DeploymentWork;
    steps: readonly StepWork[];
    leases: readonly Lease[];
    signal: AbortSignal;
  },
): Promise<BatchesEnd> {
  const { db } = dependencies.database;
  const { id, status } = run.work.deployment;
  if (status === 'queued') {
    await moveDeployment(db, id, { from: ['queued'], to: 'preparing', startedAt: new Date() });
    await context.emit('deployment', { status: 'preparing' }, id);
  }
  const commits = await commitPackages(dependencies, context, run.work);
  const commitOf = ({ gitdeploy }: StepWork): string => {
    const commit = commits.get(branchKey(gitdeploy));
    if (commit === undefined) throw new AppError('internal', 'A step has no commit.');
    return commit.commit;
  };
  const open = run.steps.filter(
    ({ step }) => step.status === 'pending' || step.status === 'running',
  );
  const unstaged = await stageAhead(dependencies, context, {
    work: run.work,
    steps: open,
    wantOf: commitOf,
    signal: run.signal,
  });
  run.signal.throwIfAborted();
  if (status !== 'running') {
    await moveDeployment(db, id, { from: ['preparing'], to: 'running' });
    await context.emit(
      'deployment',
      { status: 'running', staged: open.length - unstaged.size },
      id,
    );
  }
  return runBatches(dependencies, context, { ...run, commitOf, unstaged });
}

async function finish(
  { database }: JobDependencies,
  deploymentId: string,
  end: 'done' | 'stopped',
): Promise<JobOutcome> {
  const { failed = 0, skipped = 0 } =
    (await countSteps(database.db, [deploymentId])).get(deploymentId) ?? {};
  if (end === 'stopped' || failed + skipped > 0) {
    const deployment = await findDeployment(database.db, deploymentId);
    if (deployment === null) return { outcome: 'succeeded', result: { deleted: true } };
    // The transaction that records the job's failure records the deployment's, too.
    throw failureOf(deployment);
  }
  await database.transaction(async (tx) => {
    await moveDeployment(tx, deploymentId, {
      from: UNDER_WAY,
      to: 'succeeded',
      finishedAt: new Date(),
    });
    await appendEvent(tx, {
      jobId: null,
      deploymentId,
      kind: 'deployment',
      data: { status: 'succeeded' },
    });
  });
  return { outcome: 'succeeded', result: { deployment_id: deploymentId, status: 'succeeded' } };
}

async function recordFailure(tx: Db, deploymentId: string, error: ErrorBody): Promise<void> {
  await closeOpenWork(tx, deploymentId, error);
  const moved = await moveDeployment(tx, deploymentId, {
    from: UNDER_WAY,
    to: 'failed',
    finishedAt: new Date(),
    error,
  });
  if (!moved) return;
  await appendEvent(tx, {
    jobId: null,
    deploymentId,
    kind: 'deployment',
    data: { status: 'failed', error },
  });
}

/** A deployment asks again every second; its stream says only once what it waits for. */
async function tellOnce(
  { database }: JobDependencies,
  context: JobContext,
  deploymentId: string,
  heldBy: string,
): Promise<void> {
  if (await hasDeploymentEvent(database.db, deploymentId, 'waiting')) return;
  await context.emit('waiting', { for: heldBy }, deploymentId);
}

function isUnderWay({ status }: DeploymentRow): boolean {
  return UNDER_WAY.some((s) => s === status);
}

/** The end of a deployment whose worker died between its last write and the end of its job. */
function endOf(deployment: DeploymentRow): JobOutcome {
  if (deployment.status === 'failed') throw failureOf(deployment);
  return {
    outcome: 'succeeded',
    result: { deployment_id: deployment.id, status: deployment.status },
  };
}

function failureOf(deployment: DeploymentRow): AppError {
  const steps = deployment.batches.flatMap((b) => b.steps);
  const failed = steps
    .filter((s) => s.status === 'failed')
    .map((s) => ({ server: s.serverName, gitdeploy: s.gitdeployName, error: s.error }));
  const named = failed.slice(0, 3).map((s) => `\`${s.gitdeploy}\` on \`${s.server}\``);
  return new AppError(
    'deployment_failed',
    `Build \`${deployment.buildName}\` was not deployed everywhere: ${failed.length} of ${steps.length} steps failed (${named.join(', ')}${failed.length > 3 ? ', …' : ''}). Their errors say why; correct it, then deploy again.`,
    { details: { deployment_id: deployment.id, failed_steps: failed.slice(0, 50) } },
  );
}
