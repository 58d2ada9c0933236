import { AppError } from '../domain/errors.ts';
import type { JumpPlace } from '../domain/jump-route.ts';
import { ServerConnection } from '../domain/server-connection.ts';
import { ServerFacts } from '../domain/server-facts.ts';
import type { Attributes } from './builds.ts';
import { type Db, insertUnique } from './database.ts';
import type { Keypair, Prisma, Server } from './generated/client.ts';
import { fromJson, toJson } from './json.ts';

type Row = Server & { keypair: Keypair | null; jumpServer: { name: string } | null };
export type ServerRow = Omit<Row, 'connection' | 'facts'> & {
  readonly connection: ServerConnection;
  /** What the last check has seen; null before the first. */
  readonly facts: ServerFacts | null;
};

export interface ServerValues {
  readonly environment: string;
  readonly connection: ServerConnection;
  readonly keypairId: string | null;
  readonly hostKey: string | null;
  readonly jumpServerId: string | null;
  readonly datacenter: string | null;
  readonly attributes: Attributes;
}

const parsed = (row: Row): ServerRow => ({
  ...row,
  connection: fromJson(ServerConnection, row.connection),
  facts: row.facts === null ? null : fromJson(ServerFacts, row.facts),
});
const include = { keypair: true, jumpServer: { select: { name: true } } } as const;

export async function findServer(db: Db, name: string): Promise<ServerRow | null> {
  const row = await db.server.findUnique({ where: { name }, include });
  return row === null ? null : parsed(row);
}

export async function findServersByName(db: Db, names: readonly string[]): Promise<ServerRow[]> {
  return (await db.server.findMany({ where: { name: { in: [...names] } }, include })).map(parsed);
}

export async function findServersById(db: Db, ids: readonly string[]): Promise<ServerRow[]> {
  return (await db.server.findMany({ where: { id: { in: [...ids] } }, include })).map(parsed);
}

/** Name and environment of every server, or of the named ones. */
export function listServerPlaces(
  db: Db,
  names?: readonly string[],
): Promise<{ id: string; name: string; environment: string }[]> {
  return db.server.findMany({
    ...(names === undefined ? {} : { where: { name: { in: [...names] } } }),
    select: { id: true, name: true, environment: true },
    orderBy: { name: 'asc' },
  });
}

/** @throws {AppError} `already_exists` */
export async function insertServer(db: Db, name: string, values: ServerValues): Promise<ServerRow> {
  const row = await insertUnique(
    db.server.create({ data: { name, ...columns(values) }, include }),
    () => new AppError('already_exists', `Server \`${name}\` exists already. Nothing was changed.`),
  );
  return parsed(row);
}

export async function updateServer(db: Db, id: string, values: ServerValues): Promise<ServerRow> {
  return parsed(await db.server.update({ where: { id }, data: columns(values), include }));
}

/** Pins the host key seen at the first connection, unless one was pinned meanwhile. */
export async function pinHostKey(db: Db, id: string, hostKey: string): Promise<boolean> {
  const { count } = await db.server.updateMany({ where: { id, hostKey: null }, data: { hostKey } });
  return count === 1;
}

/** Keeps what a check has seen. */
export async function recordFacts(db: Db, id: string, facts: ServerFacts): Promise<void> {
  await db.server.updateMany({
    where: { id },
    data: { facts: toJson(facts), checkedAt: new Date() },
  });
}

/**
 * Every server that has a jump host or is one. Nobody else changes these until the transaction has ended, so
 * that no two changes make a circle together.
 */
export async function lockJumps(tx: Db): Promise<JumpPlace[]> {
  await tx.$executeRaw`select pg_advisory_xact_lock(hashtextextended('muster: jump servers', 0))`;
  return tx.$queryRaw`
    select id::text as "id", name, jump_server_id::text as "jumpServerId" from servers
     where jump_server_id is not null or id in (select jump_server_id from servers)`;
}

/** The servers that are reached from this one, by name. */
export async function listReachedFrom(db: Db, id: string): Promise<string[]> {
  const rows = await db.server.findMany({
    where: { jumpServerId: id },
    select: { name: true },
    orderBy: { name: 'asc' },
  });
  return rows.map(({ name }) => name);
}

/** Keeps servers from being deleted until the transaction ends. @returns the names of those that are there */
export async function holdServers(tx: Db, ids: readonly string[]): Promise<string[]> {
  const rows = await tx.$queryRaw<{ name: string }[]>`
    select name from servers where id = any(${[...ids]}::uuid[]) order by id for key share`;
  return rows.map(({ name }) => name);
}

function columns(values: ServerValues): Omit<Prisma.ServerUncheckedCreateInput, 'name'> {
  return {
    ...values,
    connection: toJson(values.connection),
    attributes: toJson(values.attributes),
  };
}

/**
 * Keeps others from changing a server's row, a host key that is being pinned included, until the transaction ends.
 * Not from referring to it: servers that are made each other's jump hosts at once must not wait for each other.
 */
export async function lockServer(tx: Db, name: string): Promise<void> {
  await tx.$executeRaw`select 1 from servers where name = ${name} for no key update`;
}
