import type { Logger } from 'pino';
import type { ErrorBody } from '../domain/errors.ts';
import type { JobData, JobKind } from '../queue/job-kinds.ts';
import type { Db } from '../store/database.ts';

/** What a handler is given beside its data. */
export interface JobContext {
  readonly jobId: string;
  readonly log: Logger;
  /** Aborted when the work must end now: the job was taken from this worker, or its time to stop is over. */
  readonly signal: AbortSignal;
  /** Aborted when the worker is asked to stop: finish what is under way, begin nothing new. */
  readonly draining: AbortSignal;
  /** Adds a line to the job's results, and to the deployment's stream if one is named. */
  emit(kind: string, data: unknown, deploymentId?: string): Promise<void>;
}

/** `again`: put the job back and look at it in `afterMs` (it waits for a lock or a pause, or the worker stops). */
export type JobOutcome =
  | { readonly outcome: 'succeeded'; readonly result: unknown }
  | { readonly outcome: 'again'; readonly afterMs: number };

/**
 * How a kind of job is done. `run` must be safe to start over at any point, because a worker can die at any.
 * A thrown `AppError` ends the job as failed; `failed` is called in the transaction that records it.
 */
export interface JobHandler<K extends JobKind> {
  run(data: JobData<K>, context: JobContext): Promise<JobOutcome>;
  failed?(tx: Db, data: JobData<K>, error: ErrorBody): Promise<void>;
}

export type JobHandlers = { readonly [K in JobKind]: JobHandler<K> };
