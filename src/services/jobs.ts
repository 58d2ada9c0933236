import { AppError } from '../domain/errors.ts';
import type { JobData, JobKind } from '../queue/job-kinds.ts';
import type { Db } from '../store/database.ts';
import { type EventRow, listJobEvents } from '../store/events.ts';
import * as store from '../store/jobs.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';

export type Job = store.JobRow;
export type JobEvent = EventRow;

/** Writes the row of a job inside the transaction that calls for it. Ring with `ringJob` after the commit. */
export function recordJob<K extends JobKind>(
  tx: Db,
  caller: Caller,
  job: { kind: K; data: JobData<K>; applicationId: string | null },
): Promise<Job> {
  return store.insertJob(tx, { ...job, username: caller.username });
}

/** Tells a worker that there is something to do. */
export async function ringJob(context: ServiceContext, job: Job): Promise<Job> {
  await context.queue.ring(job.id);
  return job;
}

/** @throws {AppError} `not_found` */
export async function getJob(context: ServiceContext, id: string): Promise<Job> {
  const job = await store.findJob(context.database.db, id);
  if (job === null)
    throw new AppError('not_found', `There is no job ${id}; GET /job lists the jobs.`);
  return job;
}

/** Jobs, newest first. */
export async function listJobs(
  context: ServiceContext,
  query: { active?: boolean | undefined; limit?: number | undefined; after?: string | undefined },
): Promise<PageOf<Job>> {
  const limit = query.limit ?? 1000;
  const rows = await store.listJobs(context.database.db, {
    ...(query.active === true ? { statuses: ['queued', 'running'] as const } : {}),
    limit,
    after: query.after,
  });
  return toPage(rows, limit, (job) => job.id);
}

/** What the job has told so far, in order. */
export async function listJobResults(context: ServiceContext, id: string): Promise<EventRow[]> {
  const all: EventRow[] = [];
  for (;;) {
    const page = await listJobEvents(context.database.db, id, all.at(-1)?.id);
    all.push(...page);
    if (page.length < 1000) return all;
  }
}

const isOver = (job: Job): boolean => job.status !== 'queued' && job.status !== 'running';

/** A lost notification must not hold a caller for long. */
const RECHECK_MS = 1000;

/** Waits until a job ends, or `seconds` are over, or the caller goes away. @returns the job as it is then */
export async function waitForJob(
  context: ServiceContext,
  id: string,
  seconds: number,
  signal?: AbortSignal,
): Promise<Job> {
  const deadline = Date.now() + seconds * 1000;
  let wake = (): void => {};
  const unsubscribe = context.listener.subscribe(id, () => wake());
  try {
    for (;;) {
      // Armed before the row is read, so that a change in between is not missed.
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const job = await getJob(context, id);
      const remainingMs = deadline - Date.now();
      if (isOver(job) || remainingMs <= 0 || signal?.aborted) return job;
      await Promise.race([changed, sleep(Math.min(remainingMs, RECHECK_MS))]);
    }
  } finally {
    unsubscribe();
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
