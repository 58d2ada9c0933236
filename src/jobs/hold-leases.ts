import type { Database } from '../store/database.ts';
import {
  acquireLeases,
  type Fences,
  fencesOf,
  LEASE_SECONDS,
  parkLeases,
  releaseLeases,
  renewLeases,
} from '../store/leases.ts';

/** What came of asking for leases. */
export type Held<T> =
  | { readonly held: true; readonly value: T }
  | { readonly held: false; readonly heldBy: string };

export interface LeaseRequest {
  readonly keys: readonly string[];
  /** Who asks; the same holder always gets its leases again. */
  readonly holder: string;
  /** How long they outlive a worker that is gone. Default 60; see `pathLeaseSeconds`. */
  readonly leaseSeconds?: number;
  readonly signal: AbortSignal;
}

/** How long the lease of a (server, path) lasts: longer than that of the job, whose loss ends the work under it. */
export const pathLeaseSeconds = (config: { readonly jobLeaseSeconds: number }): number =>
  config.jobLeaseSeconds * 2;

/**
 * Does `work` while holding all the leases, renewing them, and gives them back at its end; or keeps them for as long
 * as it takes until the holder is back (`keep`). `work` is given a signal that is aborted when a lease is lost.
 */
export async function holdLeases<T>(
  database: Database,
  request: LeaseRequest,
  work: (fences: Fences, signal: AbortSignal) => Promise<{ value: T; keep: boolean }>,
): Promise<Held<T>> {
  const { holder, leaseSeconds = LEASE_SECONDS } = request;
  const by = { holder, leaseSeconds };
  const taken = await acquireLeases(database, request.keys, by);
  if ('heldBy' in taken) return { held: false, heldBy: taken.heldBy };
  const { leases } = taken;
  const lost = new AbortController();
  const renewal: { underWay: Promise<void> | null } = { underWay: null };
  const timer = setInterval(
    () => {
      renewal.underWay ??= renewLeases(database.db, by, leases)
        .then(
          (all) => {
            if (!all) lost.abort(new Error('a lease was lost to another holder'));
          },
          // The database is away: the leases still run for a while, and the job's own heartbeat gives up in time.
          () => {},
        )
        .finally(() => {
          renewal.underWay = null;
        });
    },
    (leaseSeconds * 1000) / 3,
  );
  let keep = false;
  try {
    const done = await work(fencesOf(leases), AbortSignal.any([request.signal, lost.signal]));
    keep = done.keep;
    return { held: true, value: done.value };
  } finally {
    clearInterval(timer);
    // A renewal that ends after the parking would put an end to it again.
    await renewal.underWay;
    const settle = keep ? parkLeases : releaseLeases;
    await settle(database.db, holder, leases).catch(() => {});
  }
}
