import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../domain/errors.ts';
import { type Access, GLOBAL_SCOPE, isAllowed } from '../domain/permissions.ts';
import { JOB_KINDS, type JobData, type JobKind } from '../queue/job-kinds.ts';
import { listApplicationNames } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import { type EventRow, listJobEvents } from '../store/events.ts';
import * as store from '../store/jobs.ts';
import { JOINED_JOBS } from '../store/joined-jobs.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requestDeploymentCancel } from './cancel-deployment.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { type FeedItem, followEvents } from './event-feed.ts';
import { type Job as NamedJob, withNames } from './job-data.ts';

export type Job = store.JobRow;
export type { NamedJob };
export type JobEvent = EventRow;

/** Writes the row of a job inside the transaction that calls for it. Ring with `ringJob` after the commit. */
export function recordJob<K extends JobKind>(
  tx: Db,
  caller: Caller,
  job: { kind: K; data: JobData<K>; applicationId: string | null },
): Promise<Job> {
  const { username, userId } = caller;
  return store.insertJob(tx, { ...job, username, userId });
}

/** Tells a worker that there is something to do. */
export async function ringJob(context: ServiceContext, job: Job): Promise<Job> {
  await context.queue.ring(job.id);
  return job;
}

/** @throws {AppError} `not_found` */
export async function getJob(context: ServiceContext, id: string): Promise<NamedJob> {
  const { db } = context.database;
  const job = await store.findJob(db, id);
  if (job === null) throw unknownJob(id);
  const [named] = await withNames(db, [job]);
  if (named === undefined) throw unknownJob(id);
  return named;
}

/**
 * Whether somebody may see a job (`read`) or cancel it (`write`), by what they may do now: who may do so with all
 * that belongs to no application, and with the job's application. Besides, who has started it: one of no application
 * as long as they are a user, and one of an application may be seen as long as they may write that.
 */
export function mayDoWithJob(caller: AuthenticatedCaller, access: Access, job: NamedJob): boolean {
  const { permissions } = caller;
  if (isAllowed(permissions, GLOBAL_SCOPE, access)) return true;
  // By id: another user of the same name, made later, has started nothing.
  const isTheirs = job.userId !== null && job.userId === caller.userId;
  if (job.applicationId === null) return isTheirs;
  const { applicationName: application } = job;
  if (application === null) return false;
  return (
    isAllowed(permissions, application, access) ||
    (isTheirs && isAllowed(permissions, application, 'write'))
  );
}

/** Says that there is no such job, or none that the caller may know of. */
export function unknownJob(id: string): AppError {
  return new AppError('not_found', `There is no job ${id}; GET /job lists the jobs.`);
}

/** All that `mayDoWithJob` lets somebody read, for a query, so that a page is full of it. Null for everything. */
async function visibleJobs(
  { database }: ServiceContext,
  { permissions, userId }: AuthenticatedCaller,
): Promise<store.VisibleJobs | null> {
  if (isAllowed(permissions, GLOBAL_SCOPE, 'read')) return null;
  const all = await listApplicationNames(database.db);
  const allowed = (access: Access): string[] =>
    all.filter(({ name }) => isAllowed(permissions, name, access)).map(({ id }) => id);
  return { applications: allowed('read'), userId, ownApplications: allowed('write') };
}

/** The jobs that the caller may see, newest first. */
export async function listJobs(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  query: { active?: boolean | undefined; limit?: number | undefined; after?: string | undefined },
): Promise<PageOf<NamedJob>> {
  const limit = query.limit ?? 1000;
  const rows = await store.listJobs(context.database.db, {
    ...(query.active === true ? { statuses: ['queued', 'running'] as const } : {}),
    visible: await visibleJobs(context, caller),
    limit,
    after: query.after,
  });
  const page = toPage(rows, limit, (job) => job.id);
  return { ...page, rows: await withNames(context.database.db, page.rows) };
}

/**
 * Asks for the end of a job. One that nobody has begun never begins; one that runs is told to stop. What was asked
 * for happens: the job ends as `cancelled`, whatever it was doing in that moment.
 * @throws {AppError} `not_found`; `conflict` if it is over, or rolls a deployment back
 */
export async function cancelJob(
  context: ServiceContext,
  caller: Caller,
  id: string,
): Promise<NamedJob> {
  await context.database.transaction(async (tx) => {
    const job = await store.lockJob(tx, id);
    if (job === null) throw unknownJob(id);
    if (isOver(job)) {
      throw new AppError(
        'conflict',
        `The job has ${job.status} already, so it cannot be cancelled.`,
        {
          details: { status: job.status },
        },
      );
    }
    const [named] = await withNames(tx, [job]);
    const run = JOB_KINDS.run_deployment.safeParse(job.kind === 'run_deployment' ? job.data : null);
    if (run.success) {
      const application = named?.applicationName ?? null;
      const { deploymentId } = run.data;
      await requestDeploymentCancel(tx, caller, { jobId: id, deploymentId, application });
      return;
    }
    if (job.kind === JOINED_JOBS) {
      throw new AppError(
        'conflict',
        'A worker does its share of a deployment by this job; cancel the deployment.',
        { details: { deployment_id: JOB_KINDS.join_deployment.parse(job.data).deploymentId } },
      );
    }
    if (!(await store.requestJobCancel(tx, id))) return;
    await recordAudit(tx, caller, {
      action: 'job.cancel',
      application: named?.applicationName ?? null,
      subject: id,
      before: { kind: job.kind, status: job.status },
    });
  });
  await context.queue.ring(id);
  return getJob(context, id);
}

/** Follows what a job tells, to its end. */
export function followJob(
  context: ServiceContext,
  id: string,
  o: { readonly after: bigint; readonly signal: AbortSignal },
): AsyncGenerator<FeedItem> {
  return followEvents(context, { subject: { kind: 'job', id }, isFinal: isFinalStatus, ...o });
}

/** Events of one page: what is read ahead of a client that is slow to take it. */
const RESULTS_PAGE = 200;

/**
 * What the job has told so far, in order, read page by page as it is consumed.
 * @param after the number of the last event that is known already; 0n for all
 */
export async function* readJobResults(
  context: ServiceContext,
  id: string,
  after: bigint,
): AsyncGenerator<JobEvent> {
  let position = after;
  for (;;) {
    const page = await listJobEvents(context.database.db, id, position, RESULTS_PAGE);
    yield* page;
    position = page.at(-1)?.id ?? position;
    if (page.length < RESULTS_PAGE) return;
  }
}

const isFinalStatus = (status: string): boolean => status !== 'queued' && status !== 'running';
const isOver = (job: Job): boolean => isFinalStatus(job.status);

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
      const job = await store.findJob(context.database.db, id);
      if (job === null) throw unknownJob(id);
      const remainingMs = deadline - Date.now();
      if (isOver(job) || remainingMs <= 0 || signal?.aborted) return job;
      await Promise.race([changed, sleep(Math.min(remainingMs, RECHECK_MS))]);
    }
  } finally {
    unsubscribe();
  }
}
