import { toErrorBody } from '../domain/errors.ts';
import type { Db } from './database.ts';
import { isOpenStep, type StepRow } from './deployments.ts';
import type { DeploymentPhase } from './generated/client.ts';
import { JOINED_JOBS, lostWorker } from './joined-jobs.ts';

/** What a step brings to its server. */
export interface StepTarget {
  readonly id: string;
  readonly commit: string;
  /** True if the objects are on the server already. */
  readonly isStaged: boolean;
}

/** Writes down what steps bring, so that any worker can run them. */
export async function saveStepTargets(tx: Db, targets: readonly StepTarget[]): Promise<void> {
  await tx.$executeRaw`
    update steps s set target_commit = t.commit, is_staged = t.staged
      from unnest(${targets.map((t) => t.id)}::uuid[], ${targets.map((t) => t.commit)}::text[],
                  ${targets.map((t) => t.isStaged)}::boolean[]) as t(id, commit, staged)
     where s.id = t.id`;
}

export interface ClaimRequest {
  readonly batchId: string;
  readonly deploymentId: string;
  readonly phase: DeploymentPhase;
  /** The job that asks. */
  readonly jobId: string;
  /** Servers that all workers may be at, at once. 0 takes nothing, and only looks. */
  readonly concurrency: number;
  /** Servers of the deployment that may have failed; null for any number. */
  readonly maxFailures: number | null;
}

/** What a job got, and how the batch stands besides. */
export interface StepClaims {
  /** All steps of each server, as they stand. */
  readonly steps: readonly StepRow[];
  /** Servers of which nobody has the steps yet, and somebody may take them. */
  readonly openServers: number;
  /** Steps that other jobs have and that have not ended. */
  readonly othersSteps: number;
  /** True if there are steps in the hands of jobs whose workers are silent, or that have ended. */
  readonly areStepsLost: boolean;
}

/**
 * Takes steps of a running batch for a job: an equal share of what is open, and of what the deployment may do at once, so
 * that workers which have joined find something. A step is in the hands of one job at a time, until that job ends. What
 * has no target yet is not to be taken; and nothing is any more once a user has cancelled, or too many servers have failed.
 */
export async function claimSteps(tx: Db, request: ClaimRequest): Promise<StepClaims> {
  const { batchId, deploymentId, jobId, concurrency, phase } = request;
  // One at a time: what is counted below must not change before it is taken.
  await tx.$executeRaw`select 1 from batches where id = ${batchId}::uuid for update`;
  const [counts] = await tx.$queryRaw<Counts[]>`
    select count(distinct server_id) filter (where job_id is null and target_commit is not null)::int as open,
           count(distinct server_id) filter (where job_id is not null)::int as busy,
           count(distinct server_id) filter (where job_id = ${jobId}::uuid)::int as mine,
           count(*) filter (where job_id <> ${jobId}::uuid)::int as others,
           count(*) filter (where job_id <> ${jobId}::uuid and not exists (
             select from jobs j
              where j.id = steps.job_id and j.status = 'running' and j.lease_expires_at >= now()))::int as lost,
           (select count(distinct f.server_id)::int from steps f join batches b on b.id = f.batch_id
             where f.deployment_id = ${deploymentId}::uuid and f.status = 'failed' and b.phase::text = ${phase}) as failed,
           (select cancel_requested_at is not null and ${phase} = 'forward' from deployments
             where id = ${deploymentId}::uuid) as "isCancelled",
           (select count(*)::int from jobs
             where kind = ${JOINED_JOBS} and status = 'running' and lease_expires_at >= now()
               and data->>'deploymentId' = ${deploymentId}) as joined
      from steps where batch_id = ${batchId}::uuid and status in ('pending', 'running')`;
  const { open, busy, mine, others, lost, failed, joined, isCancelled } = counts ?? NOTHING;
  const isTooMany = request.maxFailures !== null && failed > request.maxFailures;
  const mayTake = isCancelled || isTooMany ? 0 : open;
  const workers = 1 + joined;
  const share = Math.min(
    Math.ceil(mayTake / workers),
    Math.ceil(concurrency / workers) - mine,
    concurrency - busy,
  );
  const steps = share <= 0 ? [] : await takeServers(tx, { batchId, jobId, servers: share });
  return {
    steps,
    openServers: mayTake - Math.max(0, share),
    othersSteps: others,
    areStepsLost: lost > 0,
  };
}

/** How a batch stands, in servers; `others` and `lost` in steps. */
interface Counts {
  readonly open: number;
  readonly busy: number;
  readonly mine: number;
  readonly others: number;
  readonly lost: number;
  readonly failed: number;
  readonly joined: number;
  readonly isCancelled: boolean;
}

const NOTHING: Counts = {
  open: 0,
  busy: 0,
  mine: 0,
  others: 0,
  lost: 0,
  failed: 0,
  joined: 0,
  isCancelled: false,
};

async function takeServers(
  tx: Db,
  { batchId, jobId, servers }: { batchId: string; jobId: string; servers: number },
): Promise<readonly StepRow[]> {
  const rows = await tx.$queryRaw<{ id: string }[]>`
    update steps set job_id = ${jobId}::uuid
     where batch_id = ${batchId}::uuid and status in ('pending', 'running') and job_id is null
       and target_commit is not null
       and server_id in (
         select server_id from steps
          where batch_id = ${batchId}::uuid and status in ('pending', 'running') and job_id is null
            and target_commit is not null
          group by server_id order by min(server_name) limit ${servers})
    returning id::text`;
  return readSteps(tx, rows);
}

/** Keeps what nobody has taken of a batch from being taken, until targets are saved anew. */
export async function withholdSteps(tx: Db, batchId: string): Promise<void> {
  // In the order that claims have: a claim under way comes to its end first.
  await tx.$executeRaw`select 1 from batches where id = ${batchId}::uuid for update`;
  await tx.step.updateMany({ where: { batchId, jobId: null }, data: { targetCommit: null } });
}

/**
 * Takes over what jobs have left whose workers are silent, and ends these jobs, so that such a worker can write nothing
 * more should it wake up. Whoever calls it must take the leases anew before it touches a server.
 * @returns the steps that are to be gone on with, and those that have ended but may not be cleared up after
 */
export async function takeOverSteps(
  tx: Db,
  { batchId, jobId }: { readonly batchId: string; readonly jobId: string },
): Promise<{ open: readonly StepRow[]; ended: readonly StepRow[] }> {
  await tx.$executeRaw`
    update jobs set status = 'failed', finished_at = now(), lease_expires_at = null,
           error = ${JSON.stringify(toErrorBody(lostWorker()))}::json
     where kind = ${JOINED_JOBS} and status in ('queued', 'running')
       and (lease_expires_at is null or lease_expires_at < now())
       and id in (select job_id from steps where batch_id = ${batchId}::uuid)`;
  const rows = await tx.$queryRaw<{ id: string }[]>`
    update steps s set job_id = ${jobId}::uuid
     where s.batch_id = ${batchId}::uuid and s.job_id <> ${jobId}::uuid
       and not exists (select from jobs j where j.id = s.job_id and j.status in ('queued', 'running'))
       and (s.status in ('pending', 'running')
         or exists (select from jobs j where j.id = s.job_id and j.status = 'failed'))
    returning s.id::text`;
  const steps = await readSteps(tx, rows);
  return { open: steps.filter(isOpenStep), ended: steps.filter((step) => !isOpenStep(step)) };
}

/** True if a job has steps in hand that have not ended. */
export async function hasOpenSteps(
  db: Db,
  { jobId, deploymentId }: { readonly jobId: string; readonly deploymentId: string },
): Promise<boolean> {
  const count = await db.step.count({
    where: { deploymentId, jobId, status: { in: ['pending', 'running'] } },
  });
  return count > 0;
}

/** Takes the steps of a deployment that have not ended out of all hands, for its own worker to give out anew. */
export async function freeSteps(tx: Db, deploymentId: string): Promise<void> {
  await tx.step.updateMany({
    where: {
      deploymentId,
      status: { in: ['pending', 'running'] },
      OR: [{ jobId: { not: null } }, { targetCommit: { not: null } }],
    },
    data: { jobId: null, targetCommit: null },
  });
}

/** How the steps of a batch stand. */
export function listStepsOf(db: Db, batchId: string): Promise<StepRow[]> {
  return db.step.findMany({ where: { batchId } });
}

/** A batch that is under way and has steps which nobody has taken. */
export interface BatchInNeed {
  readonly id: string;
  readonly phase: DeploymentPhase;
}

/** @returns null as long as a deployment has no such batch; `over` if it will have none before somebody starts it anew */
export async function findBatchInNeed(
  db: Db,
  deploymentId: string,
): Promise<BatchInNeed | 'over' | null> {
  const [row] = await db.$queryRaw<{ id: string | null; phase: DeploymentPhase }[]>`
    select b.id::text, b.phase::text from deployments d
      left join batches b on b.deployment_id = d.id and b.status = 'running'
       and exists (select from steps s
                    where s.batch_id = b.id and s.job_id is null and s.target_commit is not null
                      and s.status in ('pending', 'running'))
     where d.id = ${deploymentId}::uuid and d.status in ('preparing', 'running', 'rolling_back')
     limit 1`;
  if (row === undefined) return 'over';
  return row.id === null ? null : { id: row.id, phase: row.phase };
}

function readSteps(tx: Db, rows: readonly { id: string }[]): Promise<StepRow[]> {
  return tx.step.findMany({
    where: { id: { in: rows.map(({ id }) => id) } },
    orderBy: [{ serverName: 'asc' }, { gitdeployName: 'asc' }],
  });
}
