import type { Batch as PlannedBatch } from '../domain/batches.ts';
import { ChangedFiles, DeploymentOptions, RecordedTarget } from '../domain/deployment-options.ts';
import type { ErrorBody } from '../domain/errors.ts';
import type { RollbackBatch } from '../domain/rollback-plan.ts';
import { WaitingFor } from '../domain/waiting-for.ts';
import type { Db } from './database.ts';
import {
  type Batch,
  type BatchStatus,
  type Deployment,
  type DeploymentCommit,
  type DeploymentPhase,
  type DeploymentStatus,
  Prisma,
  type Step,
  type StepStatus,
} from './generated/client.ts';
import { fromJson, toJson } from './json.ts';

export type StepRow = Step;
/** True as long as a step has not come to an end. */
export const isOpenStep = ({ status }: Pick<StepRow, 'status'>): boolean =>
  status === 'pending' || status === 'running';

export type BatchRow = Batch & { readonly steps: Step[] };
export type CommitRow = Omit<DeploymentCommit, 'changedFiles'> & {
  readonly changedFiles: ChangedFiles;
};
export type DeploymentHead = Omit<Deployment, 'target' | 'options' | 'waitingFor'> & {
  readonly target: RecordedTarget;
  readonly options: DeploymentOptions;
  readonly waitingFor: WaitingFor | null;
};
export type DeploymentRow = DeploymentHead & {
  readonly commits: CommitRow[];
  readonly batches: BatchRow[];
  /** What it takes to take the deployment back; empty unless that was asked for. */
  readonly rollbackCommits: CommitRow[];
  readonly rollbackBatches: BatchRow[];
};

/** What is shown of a deployment beside its row: part of a `DeploymentRow`, and all that a list reads. */
export interface ShownPlan {
  readonly commits: readonly ShownCommit[];
  readonly batches: readonly ShownBatch[];
  readonly rollbackBatches: readonly ShownBatch[];
}
export type ShownCommit = Pick<CommitRow, 'gitrepoName' | 'branch' | 'commit' | 'changedFiles'>;
export type ShownBatch = Omit<Batch, 'id' | 'deploymentId' | 'phase'> & {
  readonly steps: readonly ShownStep[];
};
export type ShownStep = Pick<
  Step,
  | 'serverName'
  | 'gitdeployName'
  | 'status'
  | 'fromCommit'
  | 'toCommit'
  | 'attempts'
  | 'error'
  | 'logExcerpt'
  | 'startedAt'
  | 'finishedAt'
>;

const STEPS_PER_INSERT = 5000;

const ACTIVE_STATUSES: readonly DeploymentStatus[] = [
  'queued',
  'preparing',
  'running',
  'paused',
  'rolling_back',
];

export interface NewDeployment {
  readonly applicationId: string;
  readonly build: { readonly id: string; readonly name: string };
  readonly username: string;
  readonly reason: string | null;
  readonly target: RecordedTarget;
  readonly options: DeploymentOptions;
  /** Null where nobody has seen a plan before. */
  readonly planHash: string | null;
  readonly batches: readonly PlannedBatch[];
  /** Ids of the names that the batches speak of. */
  readonly serverIds: ReadonlyMap<string, string>;
  readonly gitdeployIds: ReadonlyMap<string, string>;
}

const idOf = (ids: ReadonlyMap<string, string>, name: string): string => {
  const id = ids.get(name);
  if (id === undefined) throw new Error(`the plan names ${name}, which the snapshot does not have`);
  return id;
};

const head = (row: Deployment): DeploymentHead => ({
  ...row,
  target: fromJson(RecordedTarget, row.target),
  options: fromJson(DeploymentOptions, row.options),
  waitingFor: row.waitingFor === null ? null : fromJson(WaitingFor, row.waitingFor),
});

/** Stores a deployment with its whole plan. */
export async function insertDeployment(tx: Db, deployment: NewDeployment): Promise<DeploymentHead> {
  const row = await tx.deployment.create({
    data: {
      applicationId: deployment.applicationId,
      buildId: deployment.build.id,
      buildName: deployment.build.name,
      username: deployment.username,
      reason: deployment.reason,
      target: toJson(deployment.target),
      options: toJson(deployment.options),
      planHash: deployment.planHash,
    },
  });
  const batches = await tx.batch.createManyAndReturn({
    data: deployment.batches.map((b) => ({
      deploymentId: row.id,
      index: b.index,
      slice: b.slice,
      level: b.level,
      ordered: b.ordered,
      pauseAfterSeconds: b.pauseAfterSeconds,
      canary: b.canary ?? false,
      approvalAfter: b.approvalAfter ?? false,
    })),
    select: { id: true, index: true },
  });
  const batchIds = new Map(batches.map((b) => [b.index, b.id]));
  const steps = deployment.batches.flatMap((b) =>
    b.pairs.map((pair) => ({
      batchId: batchIds.get(b.index) ?? '',
      deploymentId: row.id,
      serverId: idOf(deployment.serverIds, pair.server),
      serverName: pair.server,
      gitdeployId: idOf(deployment.gitdeployIds, pair.gitdeploy),
      gitdeployName: pair.gitdeploy,
      toBuildId: deployment.build.id,
    })),
  );
  await insertSteps(tx, steps);
  return head(row);
}

async function insertSteps(tx: Db, steps: readonly Prisma.StepCreateManyInput[]): Promise<void> {
  // PostgreSQL takes at most 65,535 parameters in one statement.
  for (let i = 0; i < steps.length; i += STEPS_PER_INSERT) {
    await tx.step.createMany({ data: steps.slice(i, i + STEPS_PER_INSERT) });
  }
}

/** Stores what takes a deployment back. */
export async function insertRollback(
  tx: Db,
  deployment: { readonly id: string; readonly buildId: string | null },
  batches: readonly RollbackBatch[],
): Promise<void> {
  const rows = await tx.batch.createManyAndReturn({
    data: batches.map(({ index, slice, level, ordered }) => ({
      deploymentId: deployment.id,
      phase: 'rollback' as const,
      index,
      slice,
      level,
      ordered,
      pauseAfterSeconds: 0,
    })),
    select: { id: true, index: true },
  });
  const batchIds = new Map(rows.map((b) => [b.index, b.id]));
  await insertSteps(
    tx,
    batches.flatMap(({ index, steps }) =>
      steps.map((step) => ({
        ...step,
        batchId: batchIds.get(index) ?? '',
        deploymentId: deployment.id,
        fromBuildId: deployment.buildId,
      })),
    ),
  );
}

/** One deployment without its plan. */
export async function findDeploymentHead(db: Db, id: string): Promise<DeploymentHead | null> {
  const row = await db.deployment.findUnique({ where: { id } });
  return row === null ? null : head(row);
}

/** One deployment with its commits, batches and steps, in the order in which they run. */
export async function findDeployment(db: Db, id: string): Promise<DeploymentRow | null> {
  const row = await db.deployment.findUnique({ where: { id }, include: WITH_PLAN });
  if (row === null) return null;
  const { commits, batches, ...deployment } = row;
  return toDeploymentRow(head(deployment), commits, batches);
}

/** The parts in the order in which they run, or are shown. */
const WITH_PLAN = {
  commits: { orderBy: [{ gitrepoName: 'asc' }, { branch: 'asc' }] },
  batches: {
    orderBy: { index: 'asc' },
    include: { steps: { orderBy: [{ serverName: 'asc' }, { gitdeployName: 'asc' }] } },
  },
} satisfies Prisma.DeploymentInclude;

/** Puts a deployment together of its row and what belongs to it, in order. */
function toDeploymentRow(
  deployment: DeploymentHead,
  commitRows: readonly DeploymentCommit[],
  batches: readonly BatchRow[],
): DeploymentRow {
  const commits = commitRows.map((c) => ({
    ...c,
    changedFiles: fromJson(ChangedFiles, c.changedFiles),
  }));
  return {
    ...deployment,
    commits: commits.filter(({ phase }) => phase === 'forward'),
    batches: batches.filter(({ phase }) => phase === 'forward'),
    rollbackCommits: commits.filter(({ phase }) => phase === 'rollback'),
    rollbackBatches: batches.filter(({ phase }) => phase === 'rollback'),
  };
}

/** Reads a deployment without its plan, and keeps others from changing it until the transaction ends. */
export async function lockDeployment(tx: Db, id: string): Promise<DeploymentHead | null> {
  // Who only refers to it, as a worker does that records what a server has, is not kept from that.
  await tx.$executeRaw`select 1 from deployments where id = ${id}::uuid for no key update`;
  return findDeploymentHead(tx, id);
}

/** Notes what has been asked for, or (null) that it is done with. */
export async function noteRequests(
  tx: Db,
  id: string,
  requests: {
    pauseRequestedAt?: Date | null;
    cancelRequestedAt?: Date | null;
    supersededById?: string | null;
  },
): Promise<void> {
  await tx.deployment.update({ where: { id }, data: requests });
}

/** An older deployment that is under way and has a pair in common with this one, which therefore goes first. */
export async function findOlderOverlap(
  db: Db,
  deployment: { readonly id: string; readonly applicationId: string },
): Promise<string | null> {
  const [row] = await db.$queryRaw<{ id: string }[]>`
    select d.id::text from deployments d
     where d.application_id = ${deployment.applicationId}::uuid and d.id < ${deployment.id}::uuid
       and d.status in ('queued', 'preparing', 'running', 'paused', 'rolling_back')
       and exists (
         select from steps theirs
           join steps mine on mine.server_id = theirs.server_id and mine.gitdeploy_id = theirs.gitdeploy_id
          where theirs.deployment_id = d.id and mine.deployment_id = ${deployment.id}::uuid)
     order by d.id limit 1`;
  return row?.id ?? null;
}

/** The other deployments of an application that are under way and have a pair in common with this one, oldest first. */
export function listOverlapping(
  db: Db,
  deployment: { readonly id: string; readonly applicationId: string },
): Promise<{ id: string; status: DeploymentStatus; buildName: string }[]> {
  return db.$queryRaw`
    select d.id::text, d.status::text, d.build_name as "buildName" from deployments d
     where d.application_id = ${deployment.applicationId}::uuid and d.id <> ${deployment.id}::uuid
       and d.status in ('queued', 'preparing', 'running', 'paused', 'rolling_back')
       and exists (
         select from steps theirs
           join steps mine on mine.server_id = theirs.server_id and mine.gitdeploy_id = theirs.gitdeploy_id
          where theirs.deployment_id = d.id and mine.deployment_id = ${deployment.id}::uuid)
     order by d.id`;
}

/** The pairs that two deployments have in common, by server. */
export async function listOverlap(
  db: Db,
  of: { readonly id: string; readonly otherId: string; readonly limit: number },
): Promise<{ server: string; gitdeploy: string }[]> {
  return db.$queryRaw<{ server: string; gitdeploy: string }[]>`
    select distinct mine.server_name as server, mine.gitdeploy_name as gitdeploy from steps mine
      join steps theirs on theirs.server_id = mine.server_id and theirs.gitdeploy_id = mine.gitdeploy_id
     where mine.deployment_id = ${of.id}::uuid and theirs.deployment_id::text = ${of.otherId}
     order by 1, 2 limit ${of.limit}`;
}

/** How many steps of each status the given deployments have, without those that take them back. */
export async function countSteps(
  db: Db,
  deploymentIds: readonly string[],
): Promise<ReadonlyMap<string, Partial<Record<StepStatus, number>>>> {
  const groups = await db.step.groupBy({
    by: ['deploymentId', 'status'],
    where: { deploymentId: { in: [...deploymentIds] }, batch: { phase: 'forward' } },
    _count: true,
  });
  const counts = new Map<string, Partial<Record<StepStatus, number>>>();
  for (const g of groups) {
    counts.set(g.deploymentId, { ...counts.get(g.deploymentId), [g.status]: g._count });
  }
  return counts;
}

export async function countActiveDeployments(db: Db, applicationId: string): Promise<number> {
  return db.deployment.count({ where: { applicationId, status: { in: [...ACTIVE_STATUSES] } } });
}

/** The deployments under way whose steps touch a gitdeploy or a server. */
export async function findActiveDeploymentsOf(
  db: Db,
  of: { gitdeployId: string } | { serverId: string },
): Promise<string[]> {
  const steps = await db.step.findMany({
    where: { ...of, batch: { deployment: { status: { in: [...ACTIVE_STATUSES] } } } },
    select: { deploymentId: true },
    distinct: ['deploymentId'],
  });
  return steps.map((s) => s.deploymentId);
}

/** Moves a deployment on. False if it is in none of the statuses `from`. */
export async function moveDeployment(
  db: Db,
  id: string,
  move: {
    from: readonly DeploymentStatus[];
    to: DeploymentStatus;
    startedAt?: Date;
    finishedAt?: Date | null;
    error?: ErrorBody | null;
  },
): Promise<boolean> {
  const { from, to, error, ...times } = move;
  const { count } = await db.deployment.updateMany({
    where: { id, status: { in: [...from] } },
    data: {
      status: to,
      // Whatever it waited for, it has moved.
      waitingFor: Prisma.DbNull,
      ...times,
      ...(error === undefined ? {} : { error: error === null ? Prisma.DbNull : toJson(error) }),
    },
  });
  return count === 1;
}

/** Records the commit of a branch; a deployment that is taken up again finds it and makes no second one. */
export async function insertDeploymentCommit(
  tx: Db,
  commit: {
    deploymentId: string;
    gitrepoId: string;
    gitrepoName: string;
    branch: string;
    phase: DeploymentPhase;
    tree: string;
    commit: string;
    changedFiles: ChangedFiles;
  },
): Promise<void> {
  await tx.deploymentCommit.create({
    data: { ...commit, changedFiles: toJson(commit.changedFiles) },
  });
}

/** Records a commit that a rollback has made, or with an empty commit that it is to be made. */
export async function recordRollbackCommit(
  tx: Db,
  row: Omit<Parameters<typeof insertDeploymentCommit>[1], 'phase'>,
): Promise<void> {
  const { commit, changedFiles, ...ids } = row;
  const values = { commit, changedFiles: toJson(changedFiles) };
  const { deploymentId, gitrepoId, branch, tree } = ids;
  const key = { deploymentId, gitrepoId, branch, tree, phase: 'rollback' as const };
  await tx.deploymentCommit.upsert({
    where: { deploymentId_gitrepoId_branch_phase_tree: key },
    create: { ...ids, ...values, phase: 'rollback' },
    update: values,
  });
}

export async function moveBatch(
  db: Db,
  id: string,
  to: BatchStatus,
  times: { startedAt?: Date; finishedAt?: Date } = {},
): Promise<void> {
  await db.batch.update({ where: { id }, data: { status: to, ...times } });
}

/**
 * Closes what a deployment that stopped leaves open: what did not begin is skipped, what was cut off in the middle
 * has failed with the deployment's error.
 */
export async function closeOpenWork(tx: Db, deploymentId: string, error: ErrorBody): Promise<void> {
  const finishedAt = new Date();
  await tx.step.updateMany({
    where: { deploymentId, status: 'running' },
    data: { status: 'failed', finishedAt, error: toJson(error) },
  });
  await tx.step.updateMany({
    where: { deploymentId, status: 'pending' },
    data: { status: 'skipped' },
  });
  await tx.batch.updateMany({
    where: { deploymentId, status: 'running' },
    data: { status: 'failed', finishedAt },
  });
  await tx.batch.updateMany({
    where: { deploymentId, status: 'pending' },
    data: { status: 'skipped' },
  });
}

/** Closes what a user has stopped: what was under way, and what never began. */
export async function cancelOpenWork(tx: Db, deploymentId: string): Promise<void> {
  const finishedAt = new Date();
  const running = { where: { deploymentId, status: 'running' as const } };
  const pending = { where: { deploymentId, status: 'pending' as const } };
  const cancelled = { status: 'cancelled' as const };
  await tx.step.updateMany({ ...running, data: { ...cancelled, finishedAt } });
  await tx.step.updateMany({ ...pending, data: cancelled });
  await tx.batch.updateMany({ ...running, data: { ...cancelled, finishedAt } });
  await tx.batch.updateMany({ ...pending, data: cancelled });
}

/**
 * Makes all steps of a phase that have not succeeded open again, with their batches. Of batches that succeeded
 * nothing changes. @returns how many steps
 */
export async function reopenWork(
  tx: Db,
  deploymentId: string,
  phase: DeploymentPhase,
): Promise<number> {
  const again = ['failed', 'skipped', 'cancelled'] as const;
  const { count } = await tx.step.updateMany({
    where: { deploymentId, batch: { phase }, status: { in: [...again] } },
    data: {
      status: 'pending',
      startedAt: null,
      finishedAt: null,
      error: Prisma.DbNull,
      progress: Prisma.DbNull,
      logExcerpt: null,
      jobId: null,
    },
  });
  await tx.batch.updateMany({
    where: { deploymentId, phase, status: { in: [...again] } },
    data: {
      status: 'pending',
      startedAt: null,
      finishedAt: null,
      approvedAt: null,
      approvedBy: null,
    },
  });
  return count;
}
