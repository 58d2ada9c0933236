import type { ErrorBody } from '../domain/errors.ts';
import type { Db } from './database.ts';
import type { Job, JobStatus } from './generated/client.ts';
import { toJson } from './json.ts';

export type JobRow = Job;

export interface NewJob {
  readonly kind: string;
  readonly data: unknown;
  readonly username: string;
  readonly applicationId: string | null;
}

export function insertJob(tx: Db, job: NewJob): Promise<JobRow> {
  return tx.job.create({ data: { ...job, data: toJson(job.data) } });
}

export function findJob(db: Db, id: string): Promise<JobRow | null> {
  return db.job.findUnique({ where: { id } });
}

/** Jobs, newest first, older than the one with the id `after`. */
export function listJobs(
  db: Db,
  page: { statuses?: readonly JobStatus[]; limit: number; after?: string | undefined },
): Promise<JobRow[]> {
  return db.job.findMany({
    where: {
      ...(page.statuses === undefined ? {} : { status: { in: [...page.statuses] } }),
      ...(page.after === undefined ? {} : { id: { lt: page.after } }),
    },
    orderBy: { id: 'desc' },
    take: page.limit + 1,
  });
}

/** The jobs of an application that are not over. */
export function countActiveJobs(db: Db, applicationId: string): Promise<number> {
  return db.job.count({ where: { applicationId, status: { in: ['queued', 'running'] } } });
}

/** How long a worker may be silent before its job is given to another one. */
export const JOB_LEASE_SECONDS = 30;

/**
 * Gives a job that is due to a worker: queued, or left behind by a worker that is silent.
 * `attempts` of the returned row is the claim's number: every later write of this worker names it,
 * so that a worker which was presumed dead can no longer change the row.
 * @returns null if the job is over, not due yet or in good hands
 */
export async function claimJob(db: Db, id: string, worker: string): Promise<JobRow | null> {
  const count = await db.$executeRaw`
    update jobs
       set status = 'running', worker = ${worker}, attempts = attempts + 1,
           lease_expires_at = now() + make_interval(secs => ${JOB_LEASE_SECONDS}),
           started_at = coalesce(started_at, now())
     where id = ${id}::uuid and status in ('queued', 'running') and run_at <= now()
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
export async function renewClaim(db: Db, claim: Claim): Promise<boolean> {
  const count = await db.$executeRaw`
    update jobs set lease_expires_at = now() + make_interval(secs => ${JOB_LEASE_SECONDS})
     where id = ${claim.id}::uuid and worker = ${claim.worker} and attempts = ${claim.attempts}
       and status = 'running'`;
  return count === 1;
}

/** Puts a job back, to be claimed again after `delayMs`. A delay of 0 is a worker that stops and hands over. */
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

/** Ends a job. False if it is no longer the worker's own. */
export async function finishJob(
  tx: Db,
  claim: Claim,
  end: { status: 'succeeded'; result: unknown } | { status: 'failed'; error: ErrorBody },
): Promise<boolean> {
  const { count } = await tx.job.updateMany({
    where: held(claim),
    data: {
      status: end.status,
      finishedAt: new Date(),
      leaseExpiresAt: null,
      ...(end.status === 'succeeded'
        ? { result: toJson(end.result) }
        : { error: toJson(end.error) }),
    },
  });
  return count === 1;
}
