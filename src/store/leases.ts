import { AppError } from '../domain/errors.ts';
import type { Database, Db } from './database.ts';
import { Prisma } from './generated/client.ts';

/** A right to touch one (server, path), with the number that outdates every earlier holder. */
export interface Lease {
  readonly key: string;
  readonly fence: bigint;
}

export const leaseKey = (serverId: string, path: string): string => `${serverId}:${path}`;

/** How long leases last without being renewed, unless the settings say otherwise. */
export const LEASE_SECONDS = 60;

/** Who wants to have leases, and how long they last without being renewed. */
export interface LeaseHolder {
  readonly holder: string;
  readonly leaseSeconds: number;
}

const holderOf = (by: string | LeaseHolder): LeaseHolder =>
  typeof by === 'string' ? { holder: by, leaseSeconds: LEASE_SECONDS } : by;

/**
 * Takes all the leases or none. A holder that asks again gets them again, each with a higher fence,
 * so that a worker which lost its job and wakes up is outdated. Fences are never below the clock (milliseconds since
 * 1970): servers remember the highest they have seen, and a database restored from a backup has older ones.
 * @returns the leases, or who holds the first one that is taken
 */
export async function acquireLeases(
  database: Database,
  keys: readonly string[],
  by: string | LeaseHolder,
): Promise<{ leases: Lease[] } | { heldBy: string; key: string }> {
  const wanted = [...new Set(keys)];
  const { holder } = holderOf(by);
  class Taken extends Error {}
  try {
    return await database.transaction(async (tx) => {
      const leases = await takeLeases(tx, wanted, by);
      if (leases.length < wanted.length) throw new Taken();
      return { leases };
    });
  } catch (error) {
    if (!(error instanceof Taken)) throw error;
    const [taken] = await database.db.$queryRaw<{ key: string; holder: string }[]>`
      select key, holder from leases
       where key = any(${wanted}::text[]) and holder <> ${holder} and expires_at >= now()
       order by key limit 1`;
    return taken === undefined
      ? acquireLeases(database, keys, by)
      : { heldBy: taken.holder, key: taken.key };
  }
}

/** As `acquireLeases`, as a part of a transaction. @returns those that were to be had */
export function takeLeases(
  tx: Db,
  keys: readonly string[],
  by: string | LeaseHolder,
): Promise<Lease[]> {
  const { holder, leaseSeconds } = holderOf(by);
  return tx.$queryRaw<Lease[]>`
    insert into leases as l (key, holder, fence, expires_at)
    select k, ${holder}, (extract(epoch from clock_timestamp()) * 1000)::bigint,
           now() + make_interval(secs => ${leaseSeconds})
      from unnest(${[...new Set(keys)].sort()}::text[]) as k order by k
    on conflict (key) do update
       set holder = excluded.holder, fence = greatest(l.fence + 1, excluded.fence),
           expires_at = excluded.expires_at
     where l.expires_at < now() or l.holder = excluded.holder
    returning key, fence`;
}

/** Keeps a holder's leases for as long again, parked ones as they are. @returns false if any of them is lost. */
export async function renewLeases(
  db: Db,
  by: string | LeaseHolder,
  leases: readonly Lease[],
): Promise<boolean> {
  const { holder, leaseSeconds } = holderOf(by);
  const count = await db.$executeRaw`
    with mine as (${lockedInOrder(holder, leases)})
    update leases l set expires_at = greatest(l.expires_at, now() + make_interval(secs => ${leaseSeconds}))
      from mine where l.key = mine.key`;
  return count === leases.length;
}

/** All who change several leases lock them in this order, so that none waits for another in a circle. */
function lockedInOrder(holder: string, leases: readonly Lease[]): Prisma.Sql {
  return Prisma.sql`
    select l.key from leases l
      join unnest(${leases.map((l) => l.key)}::text[], ${leases.map((l) => l.fence)}::bigint[]) as m(key, fence)
        on l.key = m.key and l.fence = m.fence
     where l.holder = ${holder} order by l.key for update of l`;
}

/** The leases of a holder, for who works in its name. Those that it has lost are not among them. */
export function listLeases(db: Db, keys: readonly string[], holder: string): Promise<Lease[]> {
  return db.$queryRaw<Lease[]>`
    select key, fence from leases
     where key = any(${[...keys]}::text[]) and holder = ${holder} and expires_at >= now()`;
}

/** Keeps a holder's leases until it comes back or gives them up, however long that takes. */
export async function parkLeases(db: Db, holder: string, leases: readonly Lease[]): Promise<void> {
  await db.$executeRaw`
    with mine as (${lockedInOrder(holder, leases)})
    update leases l set expires_at = 'infinity' from mine where l.key = mine.key`;
}

/** Gives leases back. The rows stay, so that fences only grow. */
export async function releaseLeases(
  db: Db,
  holder: string,
  leases: readonly Lease[],
): Promise<void> {
  await db.$executeRaw`
    with mine as (${lockedInOrder(holder, leases)})
    update leases l set expires_at = now() - interval '1 second', holder = '' from mine where l.key = mine.key`;
}

/** Gives back everything that a holder has, for who ends its work without having taken the leases itself. */
export async function releaseHolder(db: Db, holder: string): Promise<void> {
  await db.$executeRaw`
    with mine as (select key from leases where holder = ${holder} order by key for update)
    update leases l set expires_at = now() - interval '1 second', holder = '' from mine where l.key = mine.key`;
}

/** The fences of leases by key. */
export type Fences = ReadonlyMap<string, bigint>;

export function fencesOf(leases: readonly Lease[]): Map<string, bigint> {
  return new Map(leases.map(({ key, fence }) => [key, fence]));
}

/** The fence of one lease. @throws {AppError} `internal` if it was not taken */
export function fenceOf(fences: Fences, key: string): bigint {
  const fence = fences.get(key);
  if (fence === undefined) throw new AppError('internal', `No lease was taken for ${key}.`);
  return fence;
}
