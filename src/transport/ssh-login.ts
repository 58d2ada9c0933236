import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import ssh2 from 'ssh2';
import { AppError } from '../domain/errors.ts';
import type { ServerTarget, SshAddress } from './connection.ts';
import { formatHostKey, hostKeyChanged, isSameHostKey, preferHostKey } from './host-key.ts';
import { retryPauseMs, type SshBudgets } from './ssh-budgets.ts';

/** A server that is reached by SSH. */
export interface SshTarget extends ServerTarget {
  readonly connection: SshAddress;
}

/** A client that has logged in, and the host key that it was shown. */
export interface Login {
  readonly client: ssh2.Client;
  readonly hostKey: string;
}

/** How a login is done. */
export interface LoginOptions {
  readonly budgets: SshBudgets;
  readonly signal: AbortSignal;
  /** Called before each attempt but the first. */
  readonly onRetry: () => void;
  /** Makes the TCP connection of one attempt, for a server that is reached from another. Default a direct one. */
  readonly openSocket?: ((limit: AbortSignal) => Promise<Duplex>) | undefined;
}

/**
 * Log in with the target's key and nothing else: no agent, no password. The host key is always checked; with
 * `hostKey: null` the first one seen is taken. Connections that are refused or reset are tried again.
 * @throws {AppError} `server_unreachable` (retryable), `server_login_refused`, `host_key_changed`
 */
export async function logIn(target: SshTarget, options: LoginOptions): Promise<Login> {
  const { budgets, signal, onRetry } = options;
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await tryLogIn(target, options);
    } catch (error) {
      const isLast = attempt >= budgets.loginAttempts;
      if (isLast || !(error instanceof AppError) || !isWorthAnotherTry(error.cause)) throw error;
      onRetry();
      await sleep(retryPauseMs(attempt, budgets.retryPauseMs, Math.random()), undefined, {
        signal,
      });
    }
  }
}

async function tryLogIn(target: SshTarget, options: LoginOptions): Promise<Login> {
  const { budgets, signal, openSocket } = options;
  const { host, port, user, privateKey, hostKey: pinned } = target.connection;
  checkPrivateKey(target, privateKey);
  const client = new ssh2.Client();
  const done = new AbortController();
  const seen: { hostKey: string | null } = { hostKey: null };
  let sock: Duplex | undefined;
  try {
    sock = await openSocket?.(
      AbortSignal.any([signal, AbortSignal.timeout(budgets.loginTimeoutMs)]),
    );
    // Whatever it breaks with is told by the client.
    sock?.on('error', () => undefined);
    // A channel of the jump host stays half open until this side ends it as well.
    sock?.once('end', () => sock?.destroy());
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), {
        once: true,
        signal: done.signal,
      });
      client.once('ready', resolve);
      client.once('error', reject);
      client.once('close', () => reject(new Error('the connection was closed')));
      client.connect({
        ...(sock === undefined ? { host, port } : { sock }),
        username: user,
        privateKey,
        authHandler: ['publickey'],
        hostVerifier: (blob: Buffer) => {
          seen.hostKey = formatHostKey(blob);
          return pinned === null || isSameHostKey(pinned, seen.hostKey);
        },
        algorithms: { serverHostKey: preferHostKey(pinned) },
        readyTimeout: budgets.loginTimeoutMs,
        keepaliveInterval: budgets.keepaliveMs,
        keepaliveCountMax: 3,
      });
      // A command is several small packets. Without this each waits for what the server's kernel thinks best to
      // acknowledge late, 40 ms.
      client.setNoDelay(true);
    });
  } catch (error) {
    client.on('error', () => undefined);
    client.destroy();
    sock?.destroy();
    if (signal.aborted) throw error;
    throw loginError(target, seen.hostKey, error);
  } finally {
    done.abort();
  }
  if (seen.hostKey === null) throw new Error('ssh2 logged in without showing a host key');
  return { client, hostKey: seen.hostKey };
}

function checkPrivateKey(target: SshTarget, privateKey: string): void {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (!(parsed instanceof Error) && parsed.isPrivateKey()) return;
  throw new AppError(
    'server_login_refused',
    `The private key for server ${target.name} cannot be read; give its keypair an OpenSSH key without a passphrase.`,
    { details: { server: target.name } },
  );
}

function loginError(target: SshTarget, shown: string | null, error: unknown): AppError {
  const { host, port, user, hostKey: pinned } = target.connection;
  const reason = error instanceof Error ? error.message : String(error);
  if (shown !== null && pinned !== null && !isSameHostKey(pinned, shown)) {
    return hostKeyChanged(target.name, pinned, shown);
  }
  const level = error instanceof Error && 'level' in error ? error.level : undefined;
  const address = `${host}:${port}`;
  if (level === 'client-authentication') {
    return new AppError(
      'server_login_refused',
      `Server ${target.name} (${address}) refuses user ${user} with this key; put the public key into that user's authorized_keys.`,
      { details: { server: target.name, address, user, reason }, cause: error },
    );
  }
  return unreachable(target, reason, error);
}

function unreachable(target: SshTarget, reason: string, cause: unknown): AppError {
  const { host, port, jump } = target.connection;
  const address = `${host}:${port}`;
  const [from, toCheck] =
    jump === undefined
      ? ['', 'Check that it is up and that host and port are right.']
      : [
          ` from ${jump.name}`,
          `Check that it is up, that host and port are right as seen from ${jump.name}, and that sshd there has AllowTcpForwarding.`,
        ];
  return new AppError(
    'server_unreachable',
    `Server ${target.name} cannot be reached at ${address}${from}: ${reason}. ${toCheck}`,
    {
      details: {
        server: target.name,
        address,
        reason,
        ...(jump === undefined ? {} : { jump: jump.name }),
      },
      cause,
      retryable: true,
    },
  );
}

/** An sshd that is over its `MaxStartups`, or restarts, refuses or resets; a wrong name or a silent host will not change. */
function isWorthAnotherTry(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? error.code : undefined;
  return (
    code === 'ECONNREFUSED' ||
    code === 'ECONNRESET' ||
    code === 'EPIPE' ||
    /closed|lost before handshake|reset|failure: Connection refused/i.test(error.message)
  );
}
