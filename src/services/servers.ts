import { isAbsolute, normalize } from 'node:path';
import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import type { ServerConnection } from '../domain/server-connection.ts';
import type { Attributes } from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import { findActiveDeploymentsOf } from '../store/deployments.ts';
import { listServerInstallations } from '../store/installations.ts';
import type { Page } from '../store/paging.ts';
import * as store from '../store/servers.ts';
import { readHostKey } from '../transport/keypairs.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
import { requireKeypair } from './keypairs.ts';
import { found, refuseInUse } from './lookup.ts';

export type Server = store.ServerRow;
export interface ServerDetails extends Server {
  readonly gitdeploys: { application: string; gitdeploy: string; path: string }[];
}

/** A connection as the operator gives it: keypair by name. */
export type ConnectionInput =
  | {
      readonly kind: 'ssh';
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly keypair: string;
      readonly host_key?: string | null | undefined;
    }
  | { readonly kind: 'local'; readonly root: string };

export interface NewServer {
  readonly name: string;
  readonly environment: string;
  readonly connection: ConnectionInput;
  readonly datacenter?: string | null | undefined;
  readonly attributes?: Attributes | undefined;
}

export type ServerChanges = Partial<Omit<NewServer, 'name'>>;

export async function listServers(context: ServiceContext, page: Page): Promise<PageOf<Server>> {
  return toPage(await store.listServers(context.database.db, page), page.limit, (s) => s.name);
}

/** Environments with their servers, both sorted by name. */
export async function listEnvironments(context: ServiceContext): Promise<Record<string, string[]>> {
  const byEnvironment = new Map<string, string[]>();
  for (const { name, environment } of await store.listServerPlaces(context.database.db)) {
    byEnvironment.set(environment, [...(byEnvironment.get(environment) ?? []), name]);
  }
  return Object.fromEntries([...byEnvironment].sort(([a], [b]) => (a < b ? -1 : 1)));
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

/** @throws {AppError} `invalid_input`, `not_found` (the keypair), `already_exists` */
export async function createServer(context: ServiceContext, input: NewServer): Promise<Server> {
  const { db } = context.database;
  const name = parseName('server', input.name);
  const server = await store.insertServer(db, name, {
    environment: parseName('environment', input.environment),
    ...(await readConnection(db, input.connection)),
    datacenter: input.datacenter ?? null,
    attributes: input.attributes ?? {},
  });
  context.log.info({ server: name, environment: server.environment }, 'server created');
  return server;
}

/** Replaces the given top-level values. @throws {AppError} `not_found`, `invalid_input` */
export async function changeServer(
  context: ServiceContext,
  name: string,
  changes: ServerChanges,
): Promise<ServerDetails> {
  const { db } = context.database;
  const server = await requireServer(db, name);
  const connection =
    changes.connection === undefined
      ? { connection: server.connection, keypairId: server.keypairId, hostKey: server.hostKey }
      : await readConnection(db, changes.connection);
  await store.updateServer(db, server.id, {
    environment:
      changes.environment === undefined
        ? server.environment
        : parseName('environment', changes.environment),
    ...connection,
    datacenter: changes.datacenter === undefined ? server.datacenter : changes.datacenter,
    attributes: changes.attributes ?? (server.attributes as Attributes),
  });
  return getServer(context, name);
}

/**
 * Forgets a server. What is on it stays as it is.
 * @throws {AppError} `not_found`; `in_use` while gitdeploys are initialized on it (unless `cascade`) or a
 *   deployment to it is under way
 */
export async function deleteServer(
  context: ServiceContext,
  name: string,
  { cascade }: { cascade: boolean },
): Promise<void> {
  const { db } = context.database;
  const server = await getServer(context, name);
  const deployments = await findActiveDeploymentsOf(db, { serverId: server.id });
  const gitdeploys = server.gitdeploys.map((g) => `${g.application}/${g.gitdeploy}`);
  refuseInUse(`Server \`${name}\``, { deployments, gitdeploys: cascade ? [] : gitdeploys });
  await context.database.transaction((tx) => store.deleteServer(tx, server.id));
  context.log.info({ server: name }, 'server deleted');
}

async function readConnection(
  db: Db,
  input: ConnectionInput,
): Promise<{ connection: ServerConnection; keypairId: string | null; hostKey: string | null }> {
  if (input.kind === 'local') {
    if (!isAbsolute(input.root) || input.root.includes('\0')) {
      throw new AppError(
        'invalid_input',
        "`connection.root` must be an absolute path of a folder on the worker's machine.",
      );
    }
    return {
      connection: { kind: 'local', root: normalize(input.root) },
      keypairId: null,
      hostKey: null,
    };
  }
  const keypair = await requireKeypair(db, input.keypair);
  const { kind, host, port, user } = input;
  return {
    connection: { kind, host, port, user },
    keypairId: keypair.id,
    hostKey: input.host_key == null ? null : readHostKey(input.host_key),
  };
}
