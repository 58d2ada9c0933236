import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Depot } from '../depot/depot.ts';
import type { Queue } from '../queue/queue.ts';
import type { Database } from '../store/database.ts';
import type { Listener } from '../store/listener.ts';

/** What every use case works with. */
export interface ServiceContext {
  readonly config: Config;
  readonly database: Database;
  readonly depot: Depot;
  readonly queue: Queue;
  readonly listener: Listener;
  readonly log: Logger;
}

/** Who asks. */
export interface Caller {
  readonly userId: string;
  readonly username: string;
  /** Where the request came from, and its id in the logs; null for what Muster does by itself. */
  readonly remoteAddress: string | null;
  readonly requestId: string | null;
}

/** One page of a list. */
export interface PageOf<T> {
  readonly rows: readonly T[];
  /** What to ask for as `after` to get the next page; null on the last one. */
  readonly next: string | null;
}

/** Makes a page of rows of which one more than `limit` was read. */
export function toPage<T>(
  rows: readonly T[],
  limit: number | undefined,
  keyOf: (row: T) => string,
): PageOf<T> {
  if (limit === undefined || rows.length <= limit) return { rows, next: null };
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return { rows: page, next: last === undefined ? null : keyOf(last) };
}
