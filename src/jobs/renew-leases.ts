import { AppError } from '../domain/errors.ts';
import type { Database } from '../store/database.ts';
import { type LeaseHolder, renewLeases } from '../store/leases.ts';

/** Leases that are being kept. */
export interface Renewal {
  /** Aborted when one of them is another holder's, or was taken anew by somebody else. */
  readonly lost: AbortSignal;
  giveUp(): void;
  stop(): Promise<void>;
}

/** Nothing is wrong with the work: it is taken up again when the leases are to be had. */
function lostLease(): AppError {
  return new AppError('service_unavailable', 'A lease was lost to another holder; try again.', {
    retryable: true,
  });
}

/** Renews the leases of `fences`, whichever these are at the time, three times in their length. */
export function startRenewal(
  database: Database,
  by: LeaseHolder,
  fences: ReadonlyMap<string, bigint>,
): Renewal {
  const lost = new AbortController();
  const giveUp = (): void => lost.abort(lostLease());
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
