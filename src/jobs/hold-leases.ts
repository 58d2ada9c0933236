import type { Database, Db } from '../store/database.ts';
import {
  acquireLeases,
  type Fences,
  fencesOf,
  LEASE_SECONDS,
  type LeaseHolder,
  listLeases,
  parkLeases,
  releaseLeases,
  takeLeases,
} from '../store/leases.ts';
import { startRenewal } from './renew-leases.ts';

/** What came of asking for leases. */
export type Held<T> =
  | { readonly held: true; readonly value: T }
  | { readonly held: false; readonly heldBy: string };

/** Whose leases, and for how long. */
export interface LeaseTerms {
  /** Who asks; the same holder always gets its leases again. */
  readonly holder: string;
  /** How long they outlive a worker that is gone. Default 60; see `pathLeaseSeconds`. */
  readonly leaseSeconds?: number;
  readonly signal: AbortSignal;
}

export interface LeaseRequest extends LeaseTerms {
  readonly keys: readonly string[];
}

/** Leases that are held while work goes on. */
export interface HeldLeases {
  /** As they are now. */
  readonly fences: Fences;
  /** Aborted when one of them is lost, or as the request's signal. */
  readonly lost: AbortSignal;
  /** Takes some of them anew, in a transaction, so that whoever else has used them is outdated. */
  retake(tx: Db, keys: readonly string[]): Promise<void>;
}

/** How long the lease of a (server, path) lasts: longer than that of the job, whose loss ends the work under it. */
export const pathLeaseSeconds = (config: { readonly jobLeaseSeconds: number }): number =>
  config.jobLeaseSeconds * 2;

const holderOf = ({ holder, leaseSeconds = LEASE_SECONDS }: LeaseTerms): LeaseHolder => ({
  holder,
  leaseSeconds,
});

/**
 * Does `work` while holding all the leases, renewing them, and gives them back at its end; or keeps them for as long
 * as it takes until the holder is back (`keep`).
 */
export async function holdLeases<T>(
  database: Database,
  request: LeaseRequest,
  work: (held: HeldLeases) => Promise<{ value: T; keep: boolean }>,
): Promise<Held<T>> {
  const by = holderOf(request);
  const taken = await acquireLeases(database, request.keys, by);
  if ('heldBy' in taken) return { held: false, heldBy: taken.heldBy };
  const fences = fencesOf(taken.leases);
  const renewal = startRenewal(database, by, fences);
  const retake = async (tx: Db, keys: readonly string[]): Promise<void> => {
    const again = await takeLeases(tx, keys, by);
    for (const { key, fence } of again) fences.set(key, fence);
    if (again.length < new Set(keys).size) renewal.giveUp();
  };
  let keep = false;
  try {
    const lost = AbortSignal.any([request.signal, renewal.lost]);
    const done = await work({ fences, lost, retake });
    keep = done.keep;
    return { held: true, value: done.value };
  } finally {
    await renewal.stop();
    const leases = [...fences].map(([key, fence]) => ({ key, fence }));
    const settle = keep ? parkLeases : releaseLeases;
    await settle(database.db, by.holder, leases).catch(() => {});
  }
}

/** Leases of a holder in whose name somebody else works. */
export interface SharedLeases {
  readonly fences: Fences;
  /** Aborted when one of them is lost, or as the terms' signal. */
  readonly lost: AbortSignal;
  /** Works under some more of them. `lost` is aborted if the holder does not have them any more. */
  add(keys: readonly string[]): Promise<void>;
  /** Forgets those with which the work is done. */
  drop(keys: readonly string[]): void;
}

/** Does `work` under leases that its holder goes on holding; helps to renew them, and gives none back. */
export async function shareLeases<T>(
  database: Database,
  terms: LeaseTerms,
  work: (shared: SharedLeases) => Promise<T>,
): Promise<T> {
  const by = holderOf(terms);
  const fences = new Map<string, bigint>();
  const renewal = startRenewal(database, by, fences);
  try {
    return await work({
      fences,
      lost: AbortSignal.any([terms.signal, renewal.lost]),
      add: async (keys) => {
        const leases = await listLeases(database.db, keys, by.holder);
        for (const { key, fence } of leases) fences.set(key, fence);
        if (leases.length < new Set(keys).size) renewal.giveUp();
      },
      drop: (keys) => {
        for (const key of keys) fences.delete(key);
      },
    });
  } finally {
    await renewal.stop();
  }
}
