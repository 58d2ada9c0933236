import { AppError } from '../domain/errors.ts';
import type { Database, Db } from '../store/database.ts';
import { appendEvents, type NewEvent } from '../store/events.ts';
import { type Claim, guardClaim } from '../store/jobs.ts';
import type { BulkChange } from './bulk-change.ts';
import type { JobContext, RowChange } from './handler.ts';

/** Entries in one transaction at most. */
const BATCH = 100;

/** Rows that change, what is told of it, or both. */
interface Entry {
  readonly change: RowChange | null;
  readonly event: NewEvent | null;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/**
 * What a job writes: all of it in transactions that first see to it that the job is still this worker's, so that one
 * that was frozen and wakes up changes nothing. Entries that come while others are being written go together in the
 * next transaction, in their order, so that a thousand servers that end at once do not stand in line for as many.
 * @param of.lost aborted when the job turns out to be another's
 */
export function createJobRecord(
  database: Database,
  of: {
    readonly claim: Claim;
    /** Whose results have what is told. */
    readonly stream: { readonly jobId: string; readonly deploymentId: string | null };
    readonly lost: AbortController;
  },
): Pick<JobContext, 'emit' | 'record' | 'change' | 'transaction'> {
  const { claim, stream, lost } = of;
  let waiting: Entry[] = [];
  let isWriting = false;

  const transaction = <T>(work: (tx: Db) => Promise<T>): Promise<T> =>
    database.transaction(async (tx) => {
      if (!(await guardClaim(tx, claim))) {
        lost.abort(takenError());
        throw lost.signal.reason;
      }
      return work(tx);
    });

  const writeTogether = (entries: readonly Entry[]): Promise<void> =>
    transaction(async (tx) => {
      for (const change of together(entries)) await change(tx);
      // Last of all, as everywhere: that order cannot deadlock.
      await appendEvents(
        tx,
        entries.flatMap(({ event }) => event ?? []),
      );
    });

  const write = async (entries: readonly Entry[]): Promise<void> => {
    try {
      await writeTogether(entries);
      for (const { done } of entries) done();
    } catch (error) {
      const isAlone = entries.length === 1;
      if (isAlone || lost.signal.aborted || isOutage(error)) {
        for (const { failed } of entries) failed(error);
        return;
      }
      // One of them is refused; the others must not suffer for it.
      for (const entry of entries) await write([entry]);
    }
  };

  const writeAll = async (): Promise<void> => {
    isWriting = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      waiting = waiting.slice(BATCH);
      await write(batch);
    }
    isWriting = false;
  };

  const add = (entry: Pick<Entry, 'change' | 'event'>): Promise<void> =>
    new Promise((done, failed) => {
      waiting.push({ ...entry, done, failed });
      if (!isWriting) void writeAll();
    });

  return {
    emit: (kind, data) => add({ change: null, event: { ...stream, kind, data } }),
    record: (kind, data, change) => add({ change, event: { ...stream, kind, data } }),
    change: (change) => add({ change, event: null }),
    transaction,
  };
}

/** The changes of entries, in the order in which the first of each kind came; those of a kind that can be are made as one. */
function together(entries: readonly Entry[]): ((tx: Db) => Promise<void>)[] {
  const bulks = new Map<BulkChange['write'], BulkChange[]>();
  return entries.flatMap(({ change }) => {
    if (change === null || typeof change === 'function') return change ?? [];
    const others = bulks.get(change.write);
    if (others !== undefined) {
      others.push(change);
      return [];
    }
    const changes = [change];
    bulks.set(change.write, changes);
    return (tx: Db) => change.write(tx, changes);
  });
}

/** Why a worker stops in the middle of a job. */
export function takenError(): Error {
  return new Error('the job was taken by another worker');
}

function isOutage(error: unknown): boolean {
  return error instanceof AppError && error.code === 'service_unavailable';
}
