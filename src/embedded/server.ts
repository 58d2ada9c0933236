import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { AppError } from '../domain/errors.ts';
import type { Account } from './account.ts';
import { POSTGRES_ENVIRONMENT } from './cluster.ts';
import { readOptional } from './files.ts';
import { findFreePort } from './free-port.ts';
import { isAlive, readCommandLine, waitUntil } from './processes.ts';

const run = promisify(execFile);

const START_TIMEOUT_MS = 120_000;
const START_ATTEMPTS = 5;
const RETRY_DELAY_MS = 500;
const FAST_SHUTDOWN_MS = 30_000;
const IMMEDIATE_SHUTDOWN_MS = 10_000;
const MAX_LOG_BYTES = 10_000_000;
const LOG_TAIL_BYTES = 4_000;
const PROBE_TIMEOUT_MS = 5_000;

/** Enough for one small machine; everything else is PostgreSQL's default. Durability is never traded away here. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  // Sockets have a limit of about 100 bytes on the length of their path, which a data directory may exceed.
  unix_socket_directories: '',
  max_connections: '50',
  shared_buffers: '64MB',
  log_checkpoints: 'off',
  // The statement may hold what a user has sent.
  log_min_error_statement: 'panic',
};

export interface ServerOptions {
  readonly postgres: string;
  readonly dataDirectory: string;
  readonly logFile: string;
  readonly account: Account | undefined;
  /** Override `SETTINGS` or add to them. */
  readonly settings: Readonly<Record<string, string>>;
  /** Default: any free one. */
  readonly port?: number;
}

/** A running PostgreSQL. */
export interface Server {
  readonly port: number;
  readonly process: ChildProcess;
}

/**
 * Start PostgreSQL and wait until it takes connections.
 * @throws {AppError} `service_unavailable` with the last words of its log
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  await rotateLog(options.logFile);
  const wrapper = await findDeathSignalWrapper();
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await findFreePort());
    const server = { port, process: await spawnServer(options, port, wrapper) };
    if (await becomesReady(options.dataDirectory, server.process)) {
      return server;
    }
    if (attempt === START_ATTEMPTS) {
      throw new AppError(
        'service_unavailable',
        `The embedded PostgreSQL does not start; the end of ${options.logFile} says: ${await readTail(options.logFile)}`,
      );
    }
    // The port was taken meanwhile, or workers of a killed server have not all gone yet.
    await sleep(RETRY_DELAY_MS);
  }
}

/** End PostgreSQL: its clients are disconnected, everything is written. By force if that takes too long. */
export async function stopServer(server: Server): Promise<void> {
  const { pid } = server.process;
  if (pid !== undefined) {
    await endProcess(pid, () => hasExited(server.process));
  }
}

/**
 * End the server that an earlier, killed Muster has left running on these files. A `postmaster.pid` whose process is
 * another program by now is removed; PostgreSQL would take that program for itself.
 */
export async function stopOrphan(dataDirectory: string): Promise<'none' | 'stopped' | 'forgotten'> {
  const pidFile = join(dataDirectory, 'postmaster.pid');
  const pid = Number((await readOptional(pidFile))?.split('\n')[0] ?? 0);
  if (pid === 0 || !(await isAlive(pid))) {
    return 'none';
  }
  if ((await readCommandLine(pid))?.includes(dataDirectory) !== true) {
    await rm(pidFile, { force: true });
    return 'forgotten';
  }
  await endProcess(pid, async () => !(await isAlive(pid)));
  return 'stopped';
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function endProcess(pid: number, hasEnded: () => boolean | Promise<boolean>): Promise<void> {
  // PostgreSQL's words: INT is a fast shutdown, QUIT an immediate one, which the next start recovers from.
  const steps = [
    ['SIGINT', FAST_SHUTDOWN_MS],
    ['SIGQUIT', IMMEDIATE_SHUTDOWN_MS],
    ['SIGKILL', IMMEDIATE_SHUTDOWN_MS],
  ] as const;
  for (const [signal, timeoutMs] of steps) {
    if (await hasEnded()) {
      return;
    }
    try {
      process.kill(pid, signal);
    } catch {
      // It has just ended by itself.
    }
    if (await waitUntil(hasEnded, timeoutMs)) {
      return;
    }
  }
  throw new AppError(
    'service_unavailable',
    `PostgreSQL (process ${pid}) does not end; please end it by hand.`,
  );
}

async function spawnServer(
  options: ServerOptions,
  port: number,
  wrapper: readonly string[],
): Promise<ChildProcess> {
  const settings = Object.entries({ ...SETTINGS, ...options.settings });
  const [program = options.postgres, ...args] = [
    ...wrapper,
    options.postgres,
    ...['-D', options.dataDirectory, '-p', String(port)],
    ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  const log = await open(options.logFile, 'a', 0o600);
  try {
    const child = spawn(program, args, {
      cwd: '/',
      env: POSTGRES_ENVIRONMENT,
      stdio: ['ignore', log.fd, log.fd],
      // Ctrl-C in a terminal goes to the whole process group; PostgreSQL must outlive the connections to it.
      detached: true,
      ...(options.account === undefined
        ? {}
        : { uid: options.account.uid, gid: options.account.gid }),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    return child;
  } finally {
    await log.close();
  }
}

/**
 * Linux can have PostgreSQL shut down when Muster dies without a chance to say so. Elsewhere, and where `setpriv` is
 * missing or is BusyBox's, the next start finds the orphan.
 */
async function findDeathSignalWrapper(): Promise<readonly string[]> {
  const wrapper = ['setpriv', '--pdeathsig', 'INT', '--'];
  const [program = '', ...args] = wrapper;
  try {
    await run(program, [...args, 'true'], { env: POSTGRES_ENVIRONMENT, timeout: PROBE_TIMEOUT_MS });
    return wrapper;
  } catch {
    return [];
  }
}

/** The status that `pg_ctl -w` waits for: line 1 of the file is the process, line 8 its state. */
async function becomesReady(dataDirectory: string, child: ChildProcess): Promise<boolean> {
  const isReady = async () => {
    const lines = (await readOptional(join(dataDirectory, 'postmaster.pid')))?.split('\n') ?? [];
    return lines[0] === String(child.pid) && lines[7]?.trim() === 'ready';
  };
  await waitUntil(async () => hasExited(child) || (await isReady()), START_TIMEOUT_MS);
  if (!hasExited(child) && (await isReady())) {
    return true;
  }
  if (child.pid !== undefined) {
    await endProcess(child.pid, () => hasExited(child));
  }
  return false;
}

async function rotateLog(logFile: string): Promise<void> {
  const found = await stat(logFile).catch(() => undefined);
  if (found !== undefined && found.size > MAX_LOG_BYTES) {
    await rename(logFile, `${logFile}.old`);
  }
}

async function readTail(logFile: string): Promise<string> {
  return (await readFile(logFile, 'utf8')).slice(-LOG_TAIL_BYTES).trim();
}
