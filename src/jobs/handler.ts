import type { Logger } from 'pino';
import type { ErrorBody } from '../domain/errors.ts';
import type { JobData, JobKind } from '../queue/job-kinds.ts';
import type { Db } from '../store/database.ts';
import type { BulkChange } from './bulk-change.ts';

/** A change of rows, in the transaction that is given. */
export type RowChange = ((tx: Db) => Promise<void>) | BulkChange;

/** What a handler is given beside its data. */
export interface JobContext {
  readonly jobId: string;
  readonly log: Logger;
  /**
   * Aborted when the work must end now: a user cancelled the job, it was taken from this worker, or the worker's
   * time to stop is over. Work that ends by it throws, by preference the signal's reason.
   */
  readonly signal: AbortSignal;
  /** Aborted when a user has cancelled the job; its reason is an `AppError` with the code `cancelled`. */
  readonly cancelled: AbortSignal;
  /**
   * Aborted when this worker may touch nothing any more. For what must not be cut off by a cancel: the switch of a
   * clone, and putting things back.
   */
  readonly lost: AbortSignal;
  /** Aborted when the worker is asked to stop: finish what is under way, begin nothing new. */
  readonly draining: AbortSignal;
  /** Adds a line to the job's results, and to the stream of the deployment that the job runs. */
  emit(kind: string, data: unknown): Promise<void>;
  /** Changes rows and adds the line that tells of it: both or neither, whenever the worker dies. */
  record(kind: string, data: unknown, change: RowChange): Promise<void>;
  /** Changes rows of which nothing is told; as with `record`, in one transaction with what is written at that time. */
  change(change: RowChange): Promise<void>;
  /**
   * Changes rows in a transaction of its own. Like the others it writes nothing, throws and aborts `lost` once the job
   * is another worker's: whatever a handler writes goes through one of the four.
   */
  transaction<T>(work: (tx: Db) => Promise<T>): Promise<T>;
}

/**
 * `again`: put the job back and look at it in `afterMs` (it waits for a lock or a pause, or the worker stops).
 * As a function it is asked in the transaction that puts the job back, so that no change can be missed in between.
 */
export type JobOutcome =
  | { readonly outcome: 'succeeded'; readonly result: unknown }
  | { readonly outcome: 'again'; readonly afterMs: number | ((tx: Db) => Promise<number>) };

/**
 * How a kind of job is done. `run` must be safe to start over at any point, because a worker can die at any.
 * A thrown `AppError` ends the job as failed.
 *
 * Each end has a hook that is called in the transaction which records it. A cancelled job of which something was
 * left undone calls `cancelled`, or, without one, `failed`. One whose work was done before the worker heard of it
 * calls `cancelled` alone.
 */
export interface JobHandler<K extends JobKind> {
  run(data: JobData<K>, context: JobContext): Promise<JobOutcome>;
  succeeded?(tx: Db, data: JobData<K>): Promise<void>;
  failed?(tx: Db, data: JobData<K>, error: ErrorBody): Promise<void>;
  cancelled?(tx: Db, data: JobData<K>): Promise<void>;
  /**
   * Called when its end is recorded for good, however it ended, for what is no row. A worker that dies before that does not
   * do it, and nobody does it again: upkeep must come to the same.
   */
  afterEnd?(data: JobData<K>): Promise<void>;
  /** The deployment that such a job runs: all that it tells is part of the deployment's stream. */
  deploymentOf?(data: JobData<K>): string;
  /** Of a job that does a part of another one's work: whose results have what it tells. */
  tellsFor?(data: JobData<K>): { readonly jobId: string; readonly deploymentId: string };
  /**
   * Run even if it was cancelled while nobody had it, as it may have left something that goes on: then `cancelled` is
   * aborted from the first. Default false: it ends at once.
   */
  readonly isRunThoughCancelled?: boolean;
}

export type JobHandlers = { readonly [K in JobKind]: JobHandler<K> };
