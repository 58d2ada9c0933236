import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { AppError } from '../domain/errors.ts';
import { listServersToObserve } from '../store/observations.ts';
import { findServersById, type ServerRow } from '../store/servers.ts';
import type { JobDependencies } from './dependencies.ts';
import { eachLimited } from './each-limited.ts';
import { holdLeases } from './hold-leases.ts';
import { observeClones } from './observe-clones.ts';
import { pause } from './pause.ts';

/** Only its holder observes; a lease ends a minute after its holder was last heard of. */
const LEASE_KEY = 'observer';
const LEASE_RETRY_MS = 30_000;
const SERVERS_AT_ONCE = 20;
const PAGE_SIZE = 200;

export interface ObserverOptions {
  readonly dependencies: JobDependencies;
  readonly log: Logger;
  /** How old what is known of a server may get. */
  readonly intervalSeconds: number;
}

/** The observer of a worker. */
export interface Observer {
  /** Ends what is under way. */
  close(): Promise<void>;
}

/**
 * Looks after all servers that have something initialized, again and again, so that the census knows what was
 * changed by hand. Of all workers one does it at a time; if that one ends, another takes over.
 */
export function startObserver(options: ObserverOptions): Observer {
  const closing = new AbortController();
  const done = observeForEver(options, closing.signal);
  return {
    close: async () => {
      closing.abort(new Error('the worker stops'));
      await done;
    },
  };
}

async function observeForEver(options: ObserverOptions, signal: AbortSignal): Promise<void> {
  const { dependencies, log, intervalSeconds } = options;
  const tellOnce = warnOnce(log);
  const request = { keys: [LEASE_KEY], holder: `observer:${randomUUID()}`, signal };
  for (;;) {
    try {
      await holdLeases(dependencies.database, request, async ({ lost: held }) => {
        while (!held.aborted) {
          await observeDueServers(options, held);
          tellOnce(null);
          await pause(intervalSeconds * 1000, held);
        }
        return { value: undefined, keep: false };
      });
    } catch (error) {
      // The database is away, most likely: whoever comes back first goes on.
      if (!signal.aborted) tellOnce(error);
    }
    await pause(Math.min(intervalSeconds * 1000, LEASE_RETRY_MS), signal);
    if (signal.aborted) return;
  }
}

/**
 * Looks once at every server that was not looked at for half an interval; a deployment looks, too.
 * @throws if the database is away or the signal is aborted; servers that cannot be looked at are only told of
 */
export async function observeDueServers(
  options: ObserverOptions,
  signal: AbortSignal,
): Promise<void> {
  const { dependencies, intervalSeconds } = options;
  const { db } = dependencies.database;
  let after: string | null = null;
  for (;;) {
    const ids: string[] = await listServersToObserve(db, {
      olderThanSeconds: intervalSeconds / 2,
      after,
      limit: PAGE_SIZE,
    });
    const failures: unknown[] = [];
    await eachLimited(await findServersById(db, ids), SERVERS_AT_ONCE, async (server) => {
      if (signal.aborted || failures.length > 0) return;
      await observeServer(options, server, signal).catch((error: unknown) => failures.push(error));
    });
    signal.throwIfAborted();
    if (failures.length > 0) throw failures[0];
    after = ids.at(-1) ?? null;
    if (ids.length < PAGE_SIZE) return;
  }
}

async function observeServer(
  { dependencies, log }: ObserverOptions,
  server: ServerRow,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { pinned } = await observeClones(dependencies, server, signal);
    for (const { server: name, hostKey } of pinned) {
      log.info({ server: name, hostKey }, 'host key pinned');
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AppError) || error.code === 'service_unavailable') throw error;
    // The census says `unreachable`, for all to see; a line for each look would drown the log.
    log.debug({ server: server.name, code: error.code, reason: error.message }, 'server not seen');
  }
}

/** An outage repeats the same error at every turn; one line for each different one is enough. */
function warnOnce(log: Logger): (error: unknown) => void {
  let last: string | null = null;
  return (error) => {
    const text = error === null ? null : error instanceof Error ? error.message : String(error);
    if (text !== last && text !== null) log.warn({ err: error }, 'servers could not be observed');
    last = text;
  };
}
