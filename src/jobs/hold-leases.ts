import type { Database } from '../store/database.ts';
import { acquireLeases, type Lease, releaseLeases, renewLeases } from '../store/leases.ts';

const RENEW_MS = 20_000;

/** What came of asking for leases. */
export type Held<T> =
  | { readonly held: true; readonly value: T }
  | { readonly held: false; readonly heldBy: string };

export interface LeaseRequest {
  readonly keys: readonly string[];
  /** Who asks; the same holder always gets its leases again. */
  readonly holder: string;
  readonly signal: AbortSignal;
}

/**
 * Does `work` while holding all the leases, renewing them, and gives them back at its end, unless the holder
 * will be back (`keep`). `work` is given a signal that is aborted when a lease is lost.
 */
export async function holdLeases<T>(
  database: Database,
  request: LeaseRequest,
  work: (leases: readonly Lease[], signal: AbortSignal) => Promise<{ value: T; keep: boolean }>,
): Promise<Held<T>> {
  const { holder } = request;
  const taken = await acquireLeases(database, request.keys, holder);
  if ('heldBy' in taken) return { held: false, heldBy: taken.heldBy };
  const lost = new AbortController();
  const timer = setInterval(() => {
    renewLeases(database.db, holder, taken.leases).then(
      (all) => {
        if (!all) lost.abort(new Error('a lease was lost to another holder'));
      },
      // The database is away: the leases still run for a while, and the job's own heartbeat gives up in time.
      () => {},
    );
  }, RENEW_MS);
  let keep = false;
  try {
    const done = await work(taken.leases, AbortSignal.any([request.signal, lost.signal]));
    keep = done.keep;
    return { held: true, value: done.value };
  } finally {
    clearInterval(timer);
    if (!keep) await releaseLeases(database.db, holder, taken.leases).catch(() => {});
  }
}
