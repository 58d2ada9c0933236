import type { ErrorBody } from '../domain/errors.ts';
import type { Db } from './database.ts';
import { notify } from './events.ts';
import type { Job, JobStatus } from './generated/client.ts';
import { JOINED_JOBS } from './joined-jobs.ts';
import { toJson } from './json.ts';

export type JobRow = Job;

export interface NewJob {
  readonly kind: string;
  readonly data: unknown;
  readonly username: string;
  /** Default null: nobody's, but Muster's own. */
  readonly userId?: string | null;
  readonly applicationId: string | null;
}

export function insertJob(tx: Db, job: NewJob): Promise<JobRow> {
  return tx.job.create({ data: { ...job, data: toJson(job.data) } });
}

export function findJob(db: Db, id: string): Promise<JobRow | null> {
  return db.job.findUnique({ where: { id } });
}

/** The jobs that somebody may see. */
export interface VisibleJobs {
  /** Ids of the applications of which all jobs are seen. */
  readonly applications: readonly string[];
  /** Whose own jobs are seen besides: those of no application, and those of `ownApplications`. */
  readonly userId: string;
  readonly ownApplications: readonly string[];
}

/**
 * Jobs, newest first, older than the one with the id `after`; not those by which workers join others, which are no work
 * of their own. @param page.visible null for all
 */
export function listJobs(
  db: Db,
  page: {
    readonly statuses?: readonly JobStatus[];
    readonly visible: VisibleJobs | null;
    readonly limit: number;
    readonly after?: string | undefined;
  },
): Promise<JobRow[]> {
  const { visible } = page;
  return db.job.findMany({
    where: {
      kind: { not: JOINED_JOBS },
      ...(page.statuses === undefined ? {} : { status: { in: [...page.statuses] } }),
      ...(page.after === undefined ? {} : { id: { lt: page.after } }),
      ...(visible === null ? {} : { OR: anyVisible(visible) }),
    },
    orderBy: { id: 'desc' },
    take: page.limit + 1,
  });
}

function anyVisible({ applications, userId, ownApplications }: VisibleJobs): object[] {
  return [
    { applicationId: { in: [...applications] } },
    { userId, applicationId: null },
    { userId, applicationId: { in: [...ownApplications] } },
  ];
}

/** The jobs of an application that are not over, but for the upkeep of its depot, which ends by itself. */
export function countActiveJobs(db: Db, applicationId: string): Promise<number> {
  return db.job.count({
    where: {
      applicationId,
      status: { in: ['queued', 'running'] },
      kind: { not: 'maintain_depot' },
    },
  });
}

/** How long a worker may be silent before its job is given to another one, unless the settings say otherwise. */
const JOB_LEASE_SECONDS = 30;

/** Who wants to have a job, and for how long it may be silent then. */
export interface Claimant {
  readonly worker: string;
  readonly leaseSeconds: number;
}

/**
 * Gives a job that is due to a worker: queued, or left behind by a worker that is silent.
 * `attempts` of the returned row is the claim's number: every later write of this worker names it,
 * so that a worker which was presumed dead can no longer change the row.
 * @returns null if the job is over, not due yet or in good hands
 */
export async function claimJob(db: Db, id: string, by: string | Claimant): Promise<JobRow | null> {
  const { worker, leaseSeconds } =
    typeof by === 'string' ? { worker: by, leaseSeconds: JOB_LEASE_SECONDS } : by;
  const count = await db.$executeRaw`
    update jobs
       set status = 'running', worker = ${worker}, attempts = attempts + 1,
           lease_expires_at = now() + make_interval(secs => ${leaseSeconds}),
           -- one that is cancelled before it began never begins
           started_at = case when cancel_requested_at is null then coalesce(started_at, now()) else started_at end
     where id = ${id}::uuid and status in ('queued', 'running')
       -- a job that is to be cancelled is not waited for
       and (run_at <= now() or cancel_requested_at is not null)
       and (lease_expires_at is null or lease_expires_at < now())`;
  return count === 0 ? null : findJob(db, id);
}

/** The jobs that no worker has and that are due. What the queue forgot is found here. */
export async function listDueJobs(db: Db, limit: number): Promise<string[]> {
  const rows = await db.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where status in ('queued', 'running') and run_at <= now()
       and (lease_expires_at is null or lease_expires_at < now())
     order by run_at limit ${limit}`;
  return rows.map((r) => r.id);
}

/** A worker's hold on a job. */
export interface Claim {
  readonly id: string;
  readonly worker: string;
  readonly attempts: number;
}

const held = ({ id, worker, attempts }: Claim) => ({
  id,
  worker,
  attempts,
  status: 'running' as const,
});

/** Tells that the worker is alive. False if the job is no longer its own. */
export async function renewClaim(
  db: Db,
  claim: Claim,
  leaseSeconds = JOB_LEASE_SECONDS,
): Promise<boolean> {
  const count = await db.$executeRaw`
    update jobs set lease_expires_at = now() + make_interval(secs => ${leaseSeconds})
     where id = ${claim.id}::uuid and worker = ${claim.worker} and attempts = ${claim.attempts}
       and status = 'running'`;
  return count === 1;
}

/**
 * Keeps a job from going to another worker until the transaction ends, so that what is written in it was written by
 * who has the job. Call it first. False if the job is no longer the worker's own, however long that one has slept.
 */
export async function guardClaim(tx: Db, claim: Claim): Promise<boolean> {
  const rows = await tx.$queryRaw<unknown[]>`
    select 1 from jobs
     where id = ${claim.id}::uuid and worker = ${claim.worker} and attempts = ${claim.attempts}
       and status = 'running'
       for share`;
  return rows.length === 1;
}

/** Takes all jobs from their workers, for who knows that none of these lives any more. @returns how many */
export function abandonClaims(db: Db): Promise<number> {
  return db.$executeRaw`
    update jobs set worker = null, lease_expires_at = null where status = 'running' and worker is not null`;
}

/**
 * Puts a job back, to be claimed again after `delayMs`. A delay of 0 is a worker that stops and hands over.
 * Call `deferJob` in the same transaction if the delay is found out only then.
 */
export async function releaseClaim(db: Db, claim: Claim, delayMs: number): Promise<boolean> {
  const count = await db.$executeRaw`
    update jobs set worker = null, lease_expires_at = null,
           run_at = now() + make_interval(secs => ${delayMs / 1000}),
           -- waiting on purpose is no failed attempt
           attempts = 0
     where id = ${claim.id}::uuid and worker = ${claim.worker} and attempts = ${claim.attempts}
       and status = 'running'`;
  return count === 1;
}

/** Lets a job that nobody has wait for `delayMs` from now. */
export async function deferJob(db: Db, id: string, delayMs: number): Promise<void> {
  await db.$executeRaw`
    update jobs set run_at = now() + make_interval(secs => ${delayMs / 1000}) where id = ${id}::uuid`;
}

/** How a job came to its end. */
export type JobEnd =
  | { readonly status: 'succeeded'; readonly result: unknown }
  | { readonly status: 'failed' | 'cancelled'; readonly error: ErrorBody };

/**
 * Ends a job. One that is to be cancelled ends as cancelled, whatever the worker says: who asked was promised so.
 * If its work was done all the same, the result is kept with it.
 * @returns the status it has now, or null if it is no longer the worker's own
 */
export async function finishJob(
  tx: Db,
  claim: Claim,
  end: JobEnd,
): Promise<JobEnd['status'] | null> {
  const [row] = await tx.$queryRaw<{ cancelled: boolean }[]>`
    select cancel_requested_at is not null as cancelled from jobs where id = ${claim.id}::uuid for update`;
  const status = row?.cancelled === true ? 'cancelled' : end.status;
  const { count } = await tx.job.updateMany({
    where: held(claim),
    data: {
      status,
      finishedAt: new Date(),
      leaseExpiresAt: null,
      ...(end.status === 'succeeded'
        ? { result: toJson(end.result) }
        : { error: toJson(end.error) }),
    },
  });
  return count === 1 ? status : null;
}

/** What is told to all workers when a job is to be cancelled. */
export const CANCEL_TOPIC = 'cancel';

/** Asks for the end of a job. False if it is over, or was asked to end before. */
export async function requestJobCancel(tx: Db, id: string): Promise<boolean> {
  const count = await tx.$executeRaw`
    update jobs set cancel_requested_at = now()
     where id = ${id}::uuid and status in ('queued', 'running') and cancel_requested_at is null`;
  if (count === 1) await notify(tx, CANCEL_TOPIC);
  return count === 1;
}

/** The jobs that are to be cancelled and are not over. `isFree`: no worker has it, so anyone may end it. */
export function listCancelledJobs(db: Db): Promise<{ id: string; isFree: boolean }[]> {
  return db.$queryRaw`
    select id::text, (lease_expires_at is null or lease_expires_at < now()) as "isFree" from jobs
     where status in ('queued', 'running') and cancel_requested_at is not null
     order by cancel_requested_at limit 1000`;
}

/** Reads a job and keeps others from changing it until the transaction ends. */
export async function lockJob(tx: Db, id: string): Promise<JobRow | null> {
  await tx.$executeRaw`select 1 from jobs where id = ${id}::uuid for update`;
  return findJob(tx, id);
}

/** Locks the job that runs a deployment. Null if none does: the deployment is over. */
export async function lockDeploymentJob(
  tx: Db,
  of: { applicationId: string; deploymentId: string },
): Promise<JobRow | null> {
  const [row] = await tx.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where application_id = ${of.applicationId}::uuid and kind = 'run_deployment'
       and status in ('queued', 'running') and data->>'deploymentId' = ${of.deploymentId}
     order by id desc limit 1 for update`;
  return row === undefined ? null : findJob(tx, row.id);
}

/** Deletes up to `limit` jobs that ended before `before`, with the events that are theirs alone. @returns how many */
export async function deleteOldJobs(tx: Db, old: { before: Date; limit: number }): Promise<number> {
  const rows = await tx.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where status in ('succeeded', 'failed', 'cancelled') and finished_at < ${old.before}
     order by finished_at limit ${old.limit} for update skip locked`;
  const ids = rows.map((row) => row.id);
  if (ids.length === 0) return 0;
  await tx.$executeRaw`
    delete from events where job_id = any(${ids}::uuid[]) and deployment_id is null`;
  return tx.$executeRaw`delete from jobs where id = any(${ids}::uuid[])`;
}

/** The names of all rows that have one of these ids, whatever they are. */
export async function findNames(
  db: Db,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await db.$queryRaw<{ id: string; name: string }[]>`
    with wanted as (select unnest(${ids}::uuid[]) as id)
    select id::text, name from applications where id in (select id from wanted)
    union all select id::text, name from builds where id in (select id from wanted)
    union all select id::text, name from package_maps where id in (select id from wanted)
    union all select id::text, name from servers where id in (select id from wanted)
    union all select id::text, name from gitrepos where id in (select id from wanted)
    union all select id::text, name from gitdeploys where id in (select id from wanted)`;
  return new Map(rows.map(({ id, name }) => [id, name]));
}

/** The jobs under way that make or remove clones of a gitdeploy. */
export async function findInstallationJobs(db: Db, gitdeployId: string): Promise<string[]> {
  const rows = await db.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where kind in ('initialize_gitdeploy', 'deinitialize_gitdeploy') and status in ('queued', 'running')
       and data ->> 'gitdeployId' = ${gitdeployId}`;
  return rows.map(({ id }) => id);
}
