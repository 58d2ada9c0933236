import type { Database } from '../store/database.ts';
import { type LeaseHolder, renewLeases } from '../store/leases.ts';

/** Leases that are being kept. */
export interface Renewal {
  /** Aborted when one of them is another holder's, or was taken anew by somebody else. */
  readonly lost: AbortSignal;
  giveUp(): void;
  stop(): Promise<void>;
}

/** Renews the leases of `fences`, whichever these are at the time, three times in their length. */
export function startRenewal(
  database: Database,
  by: LeaseHolder,
  fences: ReadonlyMap<string, bigint>,
): Renewal {
  const lost = new AbortController();
  const giveUp = (): void => lost.abort(new Error('a lease was lost to another holder'));
  let underWay: Promise<void> | null = null;
  const renew = async (): Promise<void> => {
    const leases = [...fences].map(([key, fence]) => ({ key, fence }));
    if (leases.length === 0) return;
    const isWhole = await renewLeases(database.db, by, leases);
    // What was dropped or taken anew meanwhile may be lost.
    const isWanted = leases.every(({ key, fence }) => fences.get(key) === fence);
    if (!isWhole && isWanted) giveUp();
  };
  const timer = setInterval(
    () => {
      underWay ??= renew()
        // The database is away: the leases still run for a while, and the job's own heartbeat gives up in time.
        .catch(() => undefined)
        .finally(() => {
          underWay = null;
        });
    },
    (by.leaseSeconds * 1000) / 3,
  );
  return {
    lost: lost.signal,
    giveUp,
    stop: async () => {
      clearInterval(timer);
      await underWay;
    },
  };
}
