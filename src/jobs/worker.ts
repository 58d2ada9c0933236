import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { AppError, type ErrorBody, toErrorBody } from '../domain/errors.ts';
import { JOB_KINDS, type JobData, type JobKind } from '../queue/job-kinds.ts';
import type { Queue } from '../queue/queue.ts';
import type { Database, Db } from '../store/database.ts';
import { appendEvent, countTold } from '../store/events.ts';
import {
  CANCEL_TOPIC,
  type Claim,
  claimJob,
  deferJob,
  finishJob,
  type JobEnd,
  type JobRow,
  listCancelledJobs,
  listDueJobs,
  releaseClaim,
  renewClaim,
} from '../store/jobs.ts';
import type { Listener } from '../store/listener.ts';
import { coalesced } from './coalesced.ts';
import type { JobContext, JobHandler, JobHandlers, JobOutcome } from './handler.ts';
import { createJobRecord, takenError } from './job-record.ts';
import { keepTidy } from './retention.ts';

/** How often a worker looks for jobs that nobody rings for; more often where leases are shorter than usual. */
const RECONCILE_MS = 3000;
const LEASE_SECONDS = 30;
/** A job that killed its worker this many times without getting further is not tried again. */
const MAX_ATTEMPTS = 5;
/** However far it got, it may do so no more often than this. */
const MAX_MORE_ATTEMPTS = 100;
/** How long running jobs may go on after the worker was asked to stop. */
const DRAIN_MS = 30_000;
/** What is put back for longer is not rung for: the reconciler finds it when its time has come. */
const LONGEST_RING_MS = 600_000;

export interface WorkerOptions {
  readonly database: Database;
  readonly queue: Queue;
  /** Tells at once of jobs that are to be cancelled; without it that is found out within seconds. */
  readonly listener?: Listener;
  readonly handlers: JobHandlers;
  readonly log: Logger;
  /** Jobs at once. */
  readonly concurrency: number;
  /** How long the worker may be silent before its jobs go to others. Default 30. */
  readonly leaseSeconds?: number;
  /** After how many days jobs that are over, and the output of deployments, are deleted. Default never. */
  readonly retentionDays?: number;
  /** After how many days events of the audit are deleted, where jobs are; 0 is never. Default 0. */
  readonly auditRetentionDays?: number;
  /**
   * Finds work that nobody has recorded yet, whenever `topic` is told, as long as the worker has a place for it:
   * records it for the worker of that name, and returns the job, or null if there is none.
   */
  readonly join?: {
    readonly topic: string;
    readonly find: (worker: string) => Promise<string | null>;
  };
  /** Told of every job that came to its end here; `seconds` are from its first start. */
  readonly onJobEnded?: (job: {
    readonly kind: string;
    readonly status: 'succeeded' | 'failed' | 'cancelled';
    readonly seconds: number;
  }) => void;
}

export interface Worker {
  /** Takes no new jobs, gives running ones time to reach a safe point, then hands them over. */
  close(): Promise<void>;
}

/** A job in this worker's hands. */
interface RunningJob {
  readonly cancelled: AbortController;
  /** Rung for meanwhile: looked at once more when it has been put back. */
  rungAgain: boolean;
}

/** Starts to take jobs: those that the queue rings for, and those that it forgot. */
export function startWorker(options: WorkerOptions): Worker {
  const { database, queue, listener, log, concurrency, leaseSeconds = LEASE_SECONDS } = options;
  const name = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  const draining = new AbortController();
  const forced = new AbortController();
  const jobs = new Map<string, RunningJob>();
  const runs = new Set<Promise<void>>();

  const take = (jobId: string): Promise<void> => {
    if (draining.signal.aborted) return Promise.resolve();
    const present = jobs.get(jobId);
    if (present !== undefined) {
      // Not waited for: that would take the place of another job.
      present.rungAgain = true;
      return Promise.resolve();
    }
    const job: RunningJob = { cancelled: new AbortController(), rungAgain: false };
    jobs.set(jobId, job);
    const run = runJob(jobId, {
      ...options,
      leaseSeconds,
      name,
      draining: draining.signal,
      forced: forced.signal,
      cancelled: job.cancelled.signal,
      cancel: () => job.cancelled.abort(cancelledByUser()),
    })
      .catch((error: unknown) => {
        // The database is away: the row still says what to do, and the reconciler comes by again.
        log.warn({ jobId, err: error }, 'the job could not be taken or recorded');
      })
      .finally(() => {
        jobs.delete(jobId);
        runs.delete(run);
        if (job.rungAgain) void take(jobId);
      });
    runs.add(run);
    return run;
  };

  /** Tells those who do them, and ends by itself what nobody does: that takes no place, as nothing is run. */
  const cancelJobs = async (): Promise<void> => {
    for (const { id, isFree } of await listCancelledJobs(database.db)) {
      const running = jobs.get(id);
      if (running !== undefined) running.cancelled.abort(cancelledByUser());
      else if (isFree) void take(id);
    }
  };
  const reconcile = async (): Promise<void> => {
    await cancelJobs();
    const free = concurrency - jobs.size;
    if (free <= 0) return;
    for (const jobId of await listDueJobs(database.db, free)) void take(jobId);
  };
  const look = coalesced(reconcile, {
    onError: (error) => log.warn({ err: error }, 'due jobs could not be listed'),
  });
  const timer = setInterval(look.soon, Math.min(RECONCILE_MS, (leaseSeconds * 1000) / 3));
  const unsubscribe = listener?.subscribe(CANCEL_TOPIC, look.soon);
  const joining = coalesced(
    async () => {
      while (jobs.size < concurrency && !draining.signal.aborted) {
        const jobId = (await options.join?.find(name)) ?? null;
        if (jobId === null) return;
        void take(jobId);
      }
    },
    { onError: (error) => log.warn({ err: error }, 'no deployment could be joined') },
  );
  const unjoin =
    options.join === undefined ? undefined : listener?.subscribe(options.join.topic, joining.soon);
  const tidying =
    options.retentionDays === undefined
      ? Promise.resolve()
      : keepTidy(database, {
          days: options.retentionDays,
          auditDays: options.auditRetentionDays ?? 0,
          log,
          signal: draining.signal,
        });

  queue.process(take, { concurrency });
  log.info({ worker: name, concurrency }, 'worker started');

  return {
    close: async () => {
      clearInterval(timer);
      unsubscribe?.();
      unjoin?.();
      draining.abort(new Error('the worker stops'));
      const force = setTimeout(() => forced.abort(new Error('the worker stops')), DRAIN_MS);
      await Promise.all([look.idle(), joining.idle()]);
      await Promise.allSettled([...runs, tidying]);
      clearTimeout(force);
    },
  };
}

interface RunOptions extends WorkerOptions {
  readonly leaseSeconds: number;
  readonly name: string;
  readonly draining: AbortSignal;
  readonly forced: AbortSignal;
  readonly cancelled: AbortSignal;
  /** Aborts `cancelled`. */
  readonly cancel: () => void;
}

async function runJob(jobId: string, options: RunOptions): Promise<void> {
  const { database, handlers, name, cancelled, cancel, leaseSeconds } = options;
  const job = await claimJob(database.db, jobId, { worker: name, leaseSeconds });
  if (job === null) return;
  const log = options.log.child({ jobId, kind: job.kind });
  const claim: Claim = { id: job.id, worker: name, attempts: job.attempts };
  const taken = new AbortController();
  const lost = AbortSignal.any([taken.signal, options.forced]);
  const heartbeat = startHeartbeat(database, { claim, leaseSeconds, lost: taken });
  // Null as long as nobody knows what the row asks for; then there is nothing to clean up either.
  let handler: BoundHandler | null = null;
  try {
    handler = bindHandler(handlers, kindOf(job), job);
    await refuseDeadly(database, job);
    if (job.cancelRequestedAt !== null) {
      if (!handler.isRunThoughCancelled) throw cancelledByUser();
      cancel();
    }
    log.info({ attempt: job.attempts }, 'job started');
    const outcome = await handler.run({
      jobId,
      log,
      signal: AbortSignal.any([lost, cancelled]),
      cancelled,
      lost,
      draining: options.draining,
      ...createJobRecord(database, { claim, stream: handler.stream, lost: taken }),
    });
    if (outcome.outcome === 'again') {
      await putBack(options, claim, outcome.afterMs);
      return;
    }
    await end(options, log, { job, claim, handler }, outcome);
  } catch (error) {
    if (taken.signal.aborted) {
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
    const body = toErrorBody(cancelled.aborted ? cancelled.reason : error);
    const isMine = await end(
      options,
      log,
      { job, claim, handler },
      { outcome: 'failed', error: body },
    );
    // What a person can read needs no stack; what nobody foresaw is a bug, and its stack says where.
    if (isMine && body.code === 'internal') log.error({ err: error }, 'job failed');
  } finally {
    clearInterval(heartbeat);
  }
}

async function putBack(
  { database, queue }: RunOptions,
  claim: Claim,
  afterMs: number | ((tx: Db) => Promise<number>),
): Promise<void> {
  const delayMs = await database.transaction(async (tx) => {
    if (!(await releaseClaim(tx, claim, 0))) return null;
    const delay = typeof afterMs === 'number' ? afterMs : await afterMs(tx);
    await deferJob(tx, claim.id, delay);
    return delay;
  });
  if (delayMs !== null && delayMs <= LONGEST_RING_MS) await queue.ring(claim.id, delayMs);
}

/** Records how a job ended, and what follows from that, in one transaction. @returns false if it was another's by then */
async function end(
  options: RunOptions,
  log: Logger,
  of: { readonly job: JobRow; readonly claim: Claim; readonly handler: BoundHandler | null },
  outcome:
    | { readonly outcome: 'succeeded'; readonly result: unknown }
    | { readonly outcome: 'failed'; readonly error: ErrorBody },
): Promise<boolean> {
  const { claim, handler } = of;
  const end: JobEnd =
    outcome.outcome === 'succeeded'
      ? { status: 'succeeded', result: outcome.result }
      : {
          status: outcome.error.code === 'cancelled' ? 'cancelled' : 'failed',
          error: outcome.error,
        };
  const status = await options.database.transaction(async (tx) => {
    const recorded = await finishJob(tx, claim, end);
    if (recorded === null) return null;
    await handler?.ended(tx, recorded, end);
    await appendEvent(tx, {
      jobId: claim.id,
      deploymentId: handler?.deploymentId ?? null,
      kind: `job_${recorded}`,
      data: end.status === 'succeeded' ? end.result : end.error,
    });
    return recorded;
  });
  if (status === null) {
    log.info('the job was taken by another worker, or has ended');
    return false;
  }
  await handler?.afterEnd().catch((error: unknown) => {
    log.warn({ err: error }, 'what the job has left could not be removed; upkeep will do it');
  });
  options.onJobEnded?.(endOf(of.job, status));
  const why = end.status === 'failed' ? { code: end.error.code, reason: end.error.message } : {};
  log.info(why, `job ${status}`);
  return true;
}

function cancelledByUser(): AppError {
  return new AppError('cancelled', 'It was cancelled; start it again if it is still wanted.');
}

/** The database being away is no verdict on a job: it is tried again when the database is back. */
function isOutage(error: unknown): boolean {
  return error instanceof AppError && error.code === 'service_unavailable' && error.retryable;
}

/** The handler of a job's kind with the job's data, checked against the table of kinds. */
interface BoundHandler {
  /** The deployment that the job runs, or null. */
  readonly deploymentId: string | null;
  /** Whose results have what it tells. */
  readonly stream: { readonly jobId: string; readonly deploymentId: string | null };
  readonly isRunThoughCancelled: boolean;
  run(context: JobContext): Promise<JobOutcome>;
  /** @param status what the job's row says now @param end what the worker had to say */
  ended(tx: Db, status: JobEnd['status'], end: JobEnd): Promise<void>;
  afterEnd(): Promise<void>;
}

function bindHandler<K extends JobKind>(handlers: JobHandlers, kind: K, job: JobRow): BoundHandler {
  const handler: JobHandler<K> = handlers[kind];
  // The table gives this very schema for K; the compiler cannot follow the index through zod's inference.
  const data = JOB_KINDS[kind].parse(job.data) as JobData<K>;
  const deploymentId = handler.deploymentOf?.(data) ?? null;
  return {
    deploymentId,
    stream: handler.tellsFor?.(data) ?? { jobId: job.id, deploymentId },
    isRunThoughCancelled: handler.isRunThoughCancelled ?? false,
    run: (context) => handler.run(data, context),
    ended: async (tx, status, end) => {
      if (status === 'cancelled' && handler.cancelled !== undefined) {
        await handler.cancelled(tx, data);
      } else if (end.status === 'succeeded') {
        await handler.succeeded?.(tx, data);
      } else {
        await handler.failed?.(tx, data, end.error);
      }
    },
    afterEnd: async () => {
      await handler.afterEnd?.(data);
    },
  };
}

function endOf<S extends string>(
  { kind, startedAt }: JobRow,
  status: S,
): { kind: string; status: S; seconds: number } {
  // What no table knows must not become a label: it could be anything.
  const known = kind in JOB_KINDS ? kind : 'unknown';
  const seconds = startedAt === null ? 0 : (Date.now() - startedAt.getTime()) / 1000;
  return { kind: known, status, seconds: Math.max(0, seconds) };
}

async function refuseDeadly({ db }: Database, { id, attempts }: JobRow): Promise<void> {
  if (attempts <= MAX_ATTEMPTS) return;
  // Who gets further each time is not what kills its workers.
  const told = await countTold(db, id);
  if (attempts <= MAX_ATTEMPTS + Math.min(told, MAX_MORE_ATTEMPTS)) return;
  throw new AppError(
    'internal',
    `The job's worker died ${attempts - 1} times while doing it, so it is not tried again; the workers' logs say more.`,
  );
}

function kindOf(job: JobRow): JobKind {
  if (job.kind in JOB_KINDS) return job.kind as JobKind;
  throw new AppError(
    'internal',
    `This worker does not know jobs of the kind ${job.kind}; it may be older than the API.`,
  );
}

/** Tells PostgreSQL that the worker lives; aborts `lost` when the job has gone to another worker. */
function startHeartbeat(
  database: Database,
  {
    claim,
    leaseSeconds,
    lost,
  }: { readonly claim: Claim; readonly leaseSeconds: number; readonly lost: AbortController },
): NodeJS.Timeout {
  // Of a clock that nobody sets: the wall's may jump.
  let lastSeen = performance.now();
  return setInterval(
    () => {
      renewClaim(database.db, claim, leaseSeconds).then(
        (mine) => {
          lastSeen = performance.now();
          if (!mine) lost.abort(takenError());
        },
        () => {
          // Unreachable for the whole lease: another worker may have it by now, so this one must stop.
          if (performance.now() - lastSeen > leaseSeconds * 1000) {
            lost.abort(new Error('the lease could not be renewed'));
          }
        },
      );
    },
    (leaseSeconds * 1000) / 3,
  );
}
