import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { AppError, type ErrorBody, toErrorBody } from '../domain/errors.ts';
import { JOB_KINDS, type JobData, type JobKind } from '../queue/job-kinds.ts';
import type { Queue } from '../queue/queue.ts';
import type { Database, Db } from '../store/database.ts';
import { appendEvent } from '../store/events.ts';
import {
  type Claim,
  claimJob,
  finishJob,
  JOB_LEASE_SECONDS,
  type JobRow,
  listDueJobs,
  releaseClaim,
  renewClaim,
} from '../store/jobs.ts';
import type { JobContext, JobHandler, JobHandlers, JobOutcome } from './handler.ts';

const RECONCILE_MS = 3000;
/** A job that killed its worker this many times is not tried again. */
const MAX_ATTEMPTS = 5;
/** How long running jobs may go on after the worker was asked to stop. */
const DRAIN_MS = 30_000;

export interface WorkerOptions {
  readonly database: Database;
  readonly queue: Queue;
  readonly handlers: JobHandlers;
  readonly log: Logger;
  /** Jobs at once. */
  readonly concurrency: number;
}

export interface Worker {
  /** Takes no new jobs, gives running ones time to reach a safe point, then hands them over. */
  close(): Promise<void>;
}

/** Starts to take jobs: those that the queue rings for, and those that it forgot. */
export function startWorker(options: WorkerOptions): Worker {
  const { database, queue, log, concurrency } = options;
  const name = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  const draining = new AbortController();
  const forced = new AbortController();
  const running = new Map<string, Promise<void>>();

  const take = (jobId: string): Promise<void> => {
    const present = running.get(jobId);
    if (present !== undefined || draining.signal.aborted) return present ?? Promise.resolve();
    const run = runJob(jobId, {
      ...options,
      name,
      draining: draining.signal,
      forced: forced.signal,
    })
      .catch((error: unknown) => {
        // The database is away: the row still says what to do, and the reconciler comes by again.
        log.warn({ jobId, err: error }, 'the job could not be taken or recorded');
      })
      .finally(() => running.delete(jobId));
    running.set(jobId, run);
    return run;
  };

  const reconcile = async (): Promise<void> => {
    const free = concurrency - running.size;
    if (free <= 0) return;
    for (const jobId of await listDueJobs(database.db, free)) void take(jobId);
  };
  let reconciling: Promise<void> | null = null;
  const timer = setInterval(() => {
    reconciling ??= reconcile()
      .catch((error: unknown) => log.warn({ err: error }, 'due jobs could not be listed'))
      .finally(() => {
        reconciling = null;
      });
  }, RECONCILE_MS);

  queue.process(take, { concurrency });
  log.info({ worker: name, concurrency }, 'worker started');

  return {
    close: async () => {
      clearInterval(timer);
      draining.abort(new Error('the worker stops'));
      const force = setTimeout(() => forced.abort(new Error('the worker stops')), DRAIN_MS);
      await reconciling;
      await Promise.allSettled(running.values());
      clearTimeout(force);
    },
  };
}

interface RunOptions extends WorkerOptions {
  readonly name: string;
  readonly draining: AbortSignal;
  readonly forced: AbortSignal;
}

async function runJob(jobId: string, options: RunOptions): Promise<void> {
  const { database, queue, handlers, name } = options;
  const job = await claimJob(database.db, jobId, name);
  if (job === null) return;
  const log = options.log.child({ jobId, kind: job.kind });
  const claim: Claim = { id: job.id, worker: name, attempts: job.attempts };
  const lost = new AbortController();
  const signal = AbortSignal.any([lost.signal, options.forced]);
  const heartbeat = startHeartbeat(database, claim, lost);
  log.info({ attempt: job.attempts }, 'job started');
  // Null as long as nobody knows what the row asks for; then there is nothing to clean up either.
  let handler: BoundHandler | null = null;
  try {
    handler = bindHandler(handlers, kindOf(job), job);
    refuseDeadly(job);
    const outcome = await handler.run({
      jobId,
      log,
      signal,
      draining: options.draining,
      emit: (kind, data, deploymentId) =>
        appendEvent(database.db, { jobId, deploymentId: deploymentId ?? null, kind, data }),
    });
    if (outcome.outcome === 'again') {
      if (await releaseClaim(database.db, claim, outcome.afterMs))
        await queue.ring(jobId, outcome.afterMs);
      return;
    }
    await endJob(database, claim, handler, { status: 'succeeded', result: outcome.result });
    log.info('job succeeded');
  } catch (error) {
    if (lost.signal.aborted) {
      log.warn('the job was taken by another worker');
      return;
    }
    if (options.forced.aborted || isOutage(error)) {
      // Nothing is wrong with the job: whoever takes it next goes on where it stands.
      log.warn({ err: error }, 'job interrupted; it will be taken up again');
      await releaseClaim(database.db, claim, options.forced.aborted ? 0 : RECONCILE_MS).catch(
        () => {},
      );
      return;
    }
    const body = toErrorBody(error);
    // What a person can read needs no stack; what nobody foresaw is a bug, and its stack says where.
    if (body.code === 'internal') log.error({ err: error }, 'job failed');
    else log.info({ code: body.code, reason: body.message }, 'job failed');
    await endJob(database, claim, handler, { status: 'failed', error: body });
  } finally {
    clearInterval(heartbeat);
  }
}

/** The database being away is no verdict on a job: it is tried again when the database is back. */
function isOutage(error: unknown): boolean {
  return error instanceof AppError && error.code === 'service_unavailable' && error.retryable;
}

/** The handler of a job's kind with the job's data, checked against the table of kinds. */
interface BoundHandler {
  run(context: JobContext): Promise<JobOutcome>;
  failed(tx: Db, error: ErrorBody): Promise<void>;
}

function bindHandler<K extends JobKind>(handlers: JobHandlers, kind: K, job: JobRow): BoundHandler {
  const handler: JobHandler<K> = handlers[kind];
  // The table gives this very schema for K; the compiler cannot follow the index through zod's inference.
  const data = JOB_KINDS[kind].parse(job.data) as JobData<K>;
  return {
    run: (context) => handler.run(data, context),
    failed: async (tx, error) => handler.failed?.(tx, data, error),
  };
}

function refuseDeadly(job: JobRow): void {
  if (job.attempts <= MAX_ATTEMPTS) return;
  throw new AppError(
    'internal',
    `The job's worker died ${MAX_ATTEMPTS} times while doing it, so it is not tried again; the workers' logs say more.`,
  );
}

function kindOf(job: JobRow): JobKind {
  if (job.kind in JOB_KINDS) return job.kind as JobKind;
  throw new AppError(
    'internal',
    `This worker does not know jobs of the kind ${job.kind}; it may be older than the API.`,
  );
}

async function endJob(
  database: Database,
  claim: Claim,
  handler: BoundHandler | null,
  end: { status: 'succeeded'; result: unknown } | { status: 'failed'; error: ErrorBody },
): Promise<void> {
  await database.transaction(async (tx) => {
    if (!(await finishJob(tx, claim, end))) return;
    if (end.status === 'failed') await handler?.failed(tx, end.error);
    await appendEvent(tx, {
      jobId: claim.id,
      deploymentId: null,
      kind: `job_${end.status}`,
      data: end.status === 'succeeded' ? end.result : end.error,
    });
  });
}

/** Tells PostgreSQL that the worker lives; aborts `lost` when the job has gone to another worker. */
function startHeartbeat(database: Database, claim: Claim, lost: AbortController): NodeJS.Timeout {
  let lastSeen = Date.now();
  return setInterval(
    () => {
      renewClaim(database.db, claim).then(
        (mine) => {
          lastSeen = Date.now();
          if (!mine) lost.abort(new Error('the job was taken by another worker'));
        },
        () => {
          // Unreachable for the whole lease: another worker may have it by now, so this one must stop.
          if (Date.now() - lastSeen > JOB_LEASE_SECONDS * 1000) {
            lost.abort(new Error('the lease could not be renewed'));
          }
        },
      );
    },
    (JOB_LEASE_SECONDS * 1000) / 3,
  );
}
