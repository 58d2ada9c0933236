import { AppError } from '../domain/errors.ts';
import { openSecret } from '../domain/sealed-secret.ts';
import { findServersById, pinHostKey, type ServerRow } from '../store/servers.ts';
import type { Connection, ServerTarget } from '../transport/connection.ts';
import type { JobDependencies } from './dependencies.ts';

/** An open connection, and whether this was the first one, which pinned the server's host key. */
export interface ServerAccess {
  readonly connection: Connection;
  /** The key that was pinned just now, or null. */
  readonly pinnedHostKey: string | null;
}

/**
 * Connects to a server, and pins its host key if none is known yet.
 * @throws {AppError} `server_unreachable`, `server_login_refused`, `host_key_changed`
 */
export async function connectServer(
  dependencies: JobDependencies,
  server: ServerRow,
  signal: AbortSignal,
): Promise<ServerAccess> {
  const { database, transport, config } = dependencies;
  const connection = await transport.connect(toTarget(server, config.secretKey), { signal });
  if (server.hostKey !== null || connection.hostKey === null) {
    return { connection, pinnedHostKey: null };
  }
  if (await pinHostKey(database.db, server.id, connection.hostKey)) {
    return { connection, pinnedHostKey: connection.hostKey };
  }
  // Another step pinned a key meanwhile: it must have seen the same one.
  const [current] = await findServersById(database.db, [server.id]);
  if (current?.hostKey === connection.hostKey) return { connection, pinnedHostKey: null };
  throw new AppError(
    'host_key_changed',
    `Server \`${server.name}\` showed two different host keys within moments. Nothing was done on it; check who answers at its address.`,
  );
}

function toTarget(server: ServerRow, secretKey: Buffer): ServerTarget {
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
    },
  };
}
