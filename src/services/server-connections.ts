import { randomUUID } from 'node:crypto';
import { isAbsolute, normalize } from 'node:path';
import { AppError } from '../domain/errors.ts';
import { checkJumpRoute } from '../domain/jump-route.ts';
import { parseHost, parseLogin, type ServerConnection } from '../domain/server-connection.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/servers.ts';
import { readHostKey } from '../transport/keypairs.ts';
import { requireKeypair } from './keypairs.ts';
import { found, named, refuseInUse } from './lookup.ts';

/** A connection as the operator gives it: keypair and jump host by name. */
export type ConnectionInput =
  | {
      readonly kind: 'ssh';
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly keypair: string;
      readonly host_key?: string | null | undefined;
      readonly become: boolean;
      readonly jump?: string | null | undefined;
    }
  | { readonly kind: 'local'; readonly root: string };

/** What is asked for. */
export interface ConnectionRequest {
  readonly name: string;
  /** The server as it is; null if it is being registered. */
  readonly current: store.ServerRow | null;
  /** The whole connection; undefined leaves it as it is. */
  readonly connection?: ConnectionInput | undefined;
  /** Beside or instead of the one in the connection; null forgets the pinned key. */
  readonly hostKey?: string | null | undefined;
}

/** The columns that say how a server is reached. */
export type ConnectionColumns = Pick<
  store.ServerValues,
  'connection' | 'keypairId' | 'hostKey' | 'jumpServerId'
>;

/**
 * Makes columns of a connection: names are looked up, keys read, and the way over jump hosts checked.
 * @throws {AppError} `invalid_input`, also for an unknown keypair or jump host; `in_use`
 */
export async function resolveConnection(
  tx: Db,
  request: ConnectionRequest,
): Promise<ConnectionColumns> {
  const { name, current, connection, hostKey } = request;
  const columns =
    connection === undefined ? columnsOf(current) : await readConnection(tx, request, connection);
  if (hostKey === undefined) return columns;
  if (columns.connection.kind === 'local') {
    throw new AppError(
      'invalid_input',
      `Server \`${name}\` is a folder and shows no host key; leave \`host_key\` out.`,
      { details: { parameter: 'host_key' } },
    );
  }
  if (connection?.kind === 'ssh' && connection.host_key !== undefined) {
    throw new AppError(
      'invalid_input',
      'Give the host key once: as `host_key`, or as `connection.host_key`.',
      { details: { parameter: 'host_key' } },
    );
  }
  return { ...columns, hostKey: hostKey === null ? null : readHostKey(hostKey) };
}

function columnsOf(current: store.ServerRow | null): ConnectionColumns {
  if (current === null) throw new AppError('internal', 'A new server was given no connection.');
  const { connection, keypairId, hostKey, jumpServerId } = current;
  return { connection, keypairId, hostKey, jumpServerId };
}

async function readConnection(
  tx: Db,
  request: ConnectionRequest,
  input: ConnectionInput,
): Promise<ConnectionColumns> {
  const { name, current } = request;
  if (input.kind === 'local') {
    if (current !== null) {
      const servers = await store.listReachedFrom(tx, current.id);
      refuseInUse(`That server \`${name}\` is reached by SSH`, { servers });
    }
    return {
      connection: readFolder(input.root),
      keypairId: null,
      hostKey: null,
      jumpServerId: null,
    };
  }
  const keypair = await named('connection.keypair', requireKeypair(tx, input.keypair));
  const { kind, port, become } = input;
  const host = parseHost(input.host);
  const user = parseLogin(input.user);
  const connection = { kind, host, port, user, become };
  const jumpServerId = await findJump(tx, request, input.jump ?? null);
  return {
    connection,
    keypairId: keypair.id,
    hostKey:
      input.host_key == null
        ? keptHostKey(request, { connection, jumpServerId, isForgotten: input.host_key === null })
        : readHostKey(input.host_key),
    jumpServerId,
  };
}

function readFolder(root: string): ServerConnection {
  const isPlain = !root.split('/').some((part) => part === '.' || part === '..');
  if (isAbsolute(root) && isPlain && !root.includes('\0')) {
    return { kind: 'local', root: normalize(root) };
  }
  throw new AppError(
    'invalid_input',
    "`connection.root` must be the absolute path of a folder on the worker's machine, without `.` and `..`.",
    { details: { parameter: 'connection.root' } },
  );
}

/** The pinned key stays as long as the same machine is meant: one at another address shows its own. */
function keptHostKey(
  { current }: ConnectionRequest,
  next: { connection: ServerConnection; jumpServerId: string | null; isForgotten: boolean },
): string | null {
  const { connection, jumpServerId, isForgotten } = next;
  if (isForgotten || current === null) return null;
  const before = current.connection;
  const isSamePlace =
    before.kind === 'ssh' &&
    connection.kind === 'ssh' &&
    before.host === connection.host &&
    before.port === connection.port &&
    current.jumpServerId === jumpServerId;
  return isSamePlace ? current.hostKey : null;
}

async function findJump(
  tx: Db,
  { name, current }: ConnectionRequest,
  jumpName: string | null,
): Promise<string | null> {
  if (jumpName === null) return null;
  const places = await store.lockJumps(tx);
  const jump = await named(
    'connection.jump',
    found(await store.findServer(tx, jumpName), {
      kind: 'server',
      name: jumpName,
      names: () => store.listServerPlaces(tx),
    }),
  );
  if (jump.connection.kind !== 'ssh') {
    throw new AppError(
      'invalid_input',
      `Server \`${jumpName}\` is a folder and leads nowhere; give a \`jump\` that is reached by SSH.`,
      { details: { parameter: 'connection.jump' } },
    );
  }
  checkJumpRoute({ id: current?.id ?? randomUUID(), name, jumpServerId: jump.id }, [
    ...places,
    { id: jump.id, name: jump.name, jumpServerId: jump.jumpServerId },
  ]);
  return jump.id;
}
