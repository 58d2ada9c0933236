import { AppError } from '../domain/errors.ts';
import { openSecret } from '../domain/sealed-secret.ts';
import { MAX_JUMPS } from '../domain/server-connection.ts';
import { findKeypairById } from '../store/keypairs.ts';
import { findServersById, pinHostKey, type ServerRow } from '../store/servers.ts';
import type { Connection, ServerTarget, SshAddress } from '../transport/connection.ts';
import type { JobDependencies } from './dependencies.ts';

/** A host key that was pinned just now, as it was the first one seen. */
export interface PinnedHostKey {
  readonly server: string;
  readonly hostKey: string;
}

/** An open connection, and what was pinned on the way to it. */
export interface ServerAccess {
  readonly connection: Connection;
  readonly pinned: readonly PinnedHostKey[];
}

type JumpTarget = NonNullable<SshAddress['jump']>;

/**
 * Connects to a server, through its jump hosts if it has any, and pins every host key that is not known yet.
 * @throws {AppError} `server_unreachable`, `server_login_refused`, `host_key_changed`
 */
export async function connectServer(
  dependencies: JobDependencies,
  server: ServerRow,
  signal: AbortSignal,
): Promise<ServerAccess> {
  const { connection, pinned } = await reach(dependencies, server, { signal, hops: 0 });
  return { connection, pinned };
}

interface Way {
  readonly signal: AbortSignal;
  /** How many servers already stand behind this one. */
  readonly hops: number;
}

async function reach(
  dependencies: JobDependencies,
  server: ServerRow,
  way: Way,
): Promise<ServerAccess & { readonly target: ServerTarget }> {
  const jump = await reachJump(dependencies, server, way);
  const target = toTarget(
    await withPresentKeys(dependencies, server),
    dependencies.config.secretKey,
    jump?.target,
  );
  const connection = await dependencies.transport.connect(target, { signal: way.signal });
  const seen = connection.hostKey;
  const pinned = [...(jump?.pinned ?? [])];
  if (server.hostKey === null && seen !== null && (await pin(dependencies, server, seen))) {
    pinned.push({ server: server.name, hostKey: seen });
  }
  return { connection, pinned, target };
}

/** The server's jump host, reached and with its key pinned, so that nobody else can take its place. */
async function reachJump(
  dependencies: JobDependencies,
  server: ServerRow,
  { signal, hops }: Way,
): Promise<{ target: JumpTarget; pinned: readonly PinnedHostKey[] } | undefined> {
  if (server.jumpServerId === null) return undefined;
  const [row] = await findServersById(dependencies.database.db, [server.jumpServerId]);
  if (row === undefined || hops >= MAX_JUMPS) {
    throw new AppError(
      'server_unreachable',
      `The way to server \`${server.name}\` leads over more than ${MAX_JUMPS} jump hosts, or over one that was deleted. Give it another \`jump\`.`,
    );
  }
  const { connection, pinned, target } = await reach(dependencies, row, { signal, hops: hops + 1 });
  if (target.connection.kind !== 'ssh') {
    throw new AppError(
      'server_unreachable',
      `Server \`${server.name}\` has the jump host \`${row.name}\`, which is not reached by SSH. Give it another \`jump\`.`,
    );
  }
  const hostKey = connection.hostKey ?? target.connection.hostKey;
  return { target: { ...target, connection: { ...target.connection, hostKey } }, pinned };
}

/** @returns whether this was the first key; false if another step has pinned the same one meanwhile */
async function pin(
  { database }: JobDependencies,
  server: ServerRow,
  hostKey: string,
): Promise<boolean> {
  if (await pinHostKey(database.db, server.id, hostKey)) return true;
  const [current] = await findServersById(database.db, [server.id]);
  if (current?.hostKey === hostKey) return false;
  throw new AppError(
    'host_key_changed',
    `Server \`${server.name}\` showed two different host keys within moments. Nothing was done on it; check who answers at its address.`,
  );
}

/** Rows are read when a job begins, which may be long ago; the keypair may have been given other keys since. */
async function withPresentKeys(
  { database }: JobDependencies,
  server: ServerRow,
): Promise<ServerRow> {
  if (server.keypairId === null) return server;
  const keypair = await findKeypairById(database.db, server.keypairId);
  return keypair === null ? server : { ...server, keypair };
}

function toTarget(
  server: ServerRow,
  secretKey: Buffer,
  jump: JumpTarget | undefined,
): ServerTarget {
  const { id, name, connection, keypair, hostKey } = server;
  if (connection.kind === 'local') return { id, name, connection };
  if (keypair === null) {
    throw new AppError(
      'server_login_refused',
      `Server \`${name}\` has no keypair to log in with. Give it one with PATCH /server/${name}.`,
    );
  }
  return {
    id,
    name,
    connection: {
      ...connection,
      hostKey,
      privateKey: openSecret(keypair.privateKeySealed, secretKey),
      ...(jump === undefined ? {} : { jump }),
    },
  };
}
