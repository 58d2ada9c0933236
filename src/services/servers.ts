import { getOrAdd } from '../domain/get-or-add.ts';
import { parseName } from '../domain/names.ts';
import { GLOBAL_SCOPE, isAllowed } from '../domain/permissions.ts';
import type { Attributes } from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import {
  forgetObservations,
  listServerInstallations,
  type ServerInstallation,
} from '../store/installations.ts';
import type { Page } from '../store/paging.ts';
import * as store from '../store/servers.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireVisibleServer, visibleServers } from './authorization.ts';
import { type Deleted, deleteWithNeeds } from './cascade.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { describeServer } from './descriptions.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { found } from './lookup.ts';
import { type ConnectionInput, resolveConnection } from './server-connections.ts';

export type Server = store.ServerRow;
export interface ServerDetails extends Server {
  readonly gitdeploys: readonly ServerInstallation[];
}

/** A server as somebody may see it. */
export interface ShownServer extends Server {
  /** Whether more than its kind is shown of how it is reached: keypairs and jump hosts belong to `_global`. */
  readonly isConnectionShown: boolean;
}

export interface NewServer {
  readonly name: string;
  readonly environment: string;
  readonly connection: ConnectionInput;
  readonly datacenter?: string | null | undefined;
  readonly attributes?: Attributes | undefined;
}

export interface ServerChanges extends Partial<Omit<NewServer, 'name'>> {
  /** Pins another key without giving the connection again; null forgets the pinned one. */
  readonly hostKey?: string | null | undefined;
}

/** The servers that the caller may look at. */
export async function listServers(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  page: Page,
): Promise<PageOf<ShownServer>> {
  const { db } = context.database;
  const names = (await listVisiblePlaces(db, caller))
    .map(({ name }) => name)
    .filter((name) => page.after === undefined || name > page.after);
  const { rows, next } = toPage(names, page.limit, (name) => name);
  const servers = new Map((await store.findServersByName(db, rows)).map((s) => [s.name, s]));
  return {
    // One that was deleted in between is left out.
    rows: rows.flatMap((name) => servers.get(name) ?? []).map((s) => shownTo(caller, s)),
    next,
  };
}

/** The environments of the servers that the caller may look at, with these servers, both sorted by name. */
export async function listEnvironments(
  context: ServiceContext,
  caller: AuthenticatedCaller,
): Promise<Record<string, string[]>> {
  const byEnvironment = new Map<string, string[]>();
  for (const { name, environment } of await listVisiblePlaces(context.database.db, caller)) {
    getOrAdd(byEnvironment, environment, () => []).push(name);
  }
  return Object.fromEntries([...byEnvironment].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * A server as somebody may see it.
 * @throws {AppError} `forbidden`, whether there is such a server or not; `not_found`
 */
export async function showServer(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  name: string,
): Promise<ShownServer & Pick<ServerDetails, 'gitdeploys'>> {
  requireVisibleServer(caller, name);
  const { db } = context.database;
  const server = await found(await store.findServer(db, name), {
    kind: 'server',
    name,
    names: () => listVisiblePlaces(db, caller),
  });
  const gitdeploys = await listServerInstallations(db, server.id);
  return {
    ...shownTo(caller, server),
    gitdeploys: mayReadGlobal(caller)
      ? gitdeploys
      : gitdeploys.filter((g) => isAllowed(caller.permissions, g.application, 'read')),
  };
}

async function listVisiblePlaces(
  db: Db,
  caller: AuthenticatedCaller,
): Promise<{ name: string; environment: string }[]> {
  const isVisible = visibleServers(caller);
  return (await store.listServerPlaces(db)).filter(({ name }) => isVisible(name));
}

function shownTo(caller: AuthenticatedCaller, server: Server): ShownServer {
  return { ...server, isConnectionShown: mayReadGlobal(caller) };
}

function mayReadGlobal({ permissions }: AuthenticatedCaller): boolean {
  return isAllowed(permissions, GLOBAL_SCOPE, 'read');
}

/** @throws {AppError} `not_found` */
export async function getServer(context: ServiceContext, name: string): Promise<ServerDetails> {
  const { db } = context.database;
  const server = await requireServer(db, name);
  return { ...server, gitdeploys: await listServerInstallations(db, server.id) };
}

async function requireServer(db: Db, name: string): Promise<Server> {
  return found(await store.findServer(db, name), {
    kind: 'server',
    name,
    names: () => store.listServerPlaces(db),
  });
}

/** @throws {AppError} `invalid_input`, `already_exists` */
export async function createServer(
  context: ServiceContext,
  caller: Caller,
  input: NewServer,
): Promise<Server> {
  const name = parseName('server', input.name);
  const environment = parseName('environment', input.environment);
  const server = await context.database.transaction(async (tx) => {
    const made = await store.insertServer(tx, name, {
      environment,
      ...(await resolveConnection(tx, { name, current: null, connection: input.connection })),
      datacenter: input.datacenter ?? null,
      attributes: input.attributes ?? {},
    });
    await recordAudit(tx, caller, {
      action: 'server.create',
      application: null,
      subject: name,
      after: describeServer(made),
    });
    return made;
  });
  context.log.info({ server: name, environment }, 'server created');
  return server;
}

/** A server that was changed. */
export interface ChangedServer {
  readonly server: ServerDetails;
  /** Looks at what is initialized there, if it leads to another place now; else null. */
  readonly job: Job | null;
}

/**
 * Replaces the given top-level values. Where another machine may answer from now on, what is known of the installations
 * holds no longer, and a job looks.
 * @throws {AppError} `not_found`, `invalid_input`; `in_use` if others are reached from it and it is to be a folder
 */
export async function changeServer(
  context: ServiceContext,
  caller: Caller,
  { name, changes }: { name: string; changes: ServerChanges },
): Promise<ChangedServer> {
  const job = await context.database.transaction(async (tx) => {
    // Who deletes servers takes the locks in this order as well.
    if (changes.connection !== undefined) await store.lockJumps(tx);
    await store.lockServer(tx, name);
    const current = await requireServer(tx, name);
    const { connection, hostKey } = changes;
    const changed = await store.updateServer(tx, current.id, {
      environment:
        changes.environment === undefined
          ? current.environment
          : parseName('environment', changes.environment),
      ...(await resolveConnection(tx, { name, current, connection, hostKey })),
      datacenter: changes.datacenter === undefined ? current.datacenter : changes.datacenter,
      attributes: changes.attributes ?? (current.attributes as Attributes),
    });
    await recordAudit(tx, caller, {
      action: 'server.change',
      application: null,
      subject: name,
      before: describeServer(current),
      after: describeServer(changed),
    });
    if (isSamePlace(current, changed)) return null;
    return (await forgetObservations(tx, changed.id)) === 0
      ? null
      : recordJob(tx, caller, checkOf(changed));
  });
  const looking = job === null ? null : await ringJob(context, job);
  return { server: await getServer(context, name), job: looking };
}

/** Whether it must be the same machine, or folder, by which it is reached. */
function isSamePlace(before: Server, after: Server): boolean {
  return (
    before.jumpServerId === after.jumpServerId &&
    placeOf(before.connection) === placeOf(after.connection)
  );
}

function placeOf(connection: Server['connection']): string {
  return connection.kind === 'local'
    ? connection.root
    : `${connection.kind} ${connection.host}:${connection.port}`;
}

const checkOf = ({ id: serverId }: Server) =>
  ({ kind: 'check_server', data: { serverId }, applicationId: null }) as const;

/** Starts a job that connects to a server and looks at it. @throws {AppError} `not_found` */
export async function checkServer(
  context: ServiceContext,
  caller: Caller,
  name: string,
): Promise<{ server: ServerDetails; job: Job }> {
  const server = await getServer(context, name);
  const job = await context.database.transaction(async (tx) => {
    await recordAudit(tx, caller, { action: 'server.check', application: null, subject: name });
    return recordJob(tx, caller, checkOf(server));
  });
  return { server, job: await ringJob(context, job) };
}

/**
 * Forgets a server. What is on it stays as it is.
 * @returns what went with it: with `cascade` its installations, and the servers that are reached through it, which
 *   would be looked for where Muster itself is, and another machine may answer there
 * @throws {AppError} as `deleteWithNeeds`
 */
export async function deleteServer(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { name, cascade }: { name: string; cascade: boolean },
): Promise<Deleted> {
  const deleted = await deleteWithNeeds(context, caller, {
    what: `Server \`${name}\``,
    cascade,
    find: async (tx) => ({ kind: 'server', id: (await requireServer(tx, name)).id }),
  });
  context.log.info({ server: name, deleted }, 'server deleted');
  return deleted;
}
