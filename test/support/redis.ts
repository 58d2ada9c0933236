import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { findQuietPort } from '../../scripts/fleet/quiet-port.ts';
import { findProgram } from './parts.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';

export interface TestRedis {
  readonly url: string;
  /** Process number; another one after `restart()`. */
  readonly pid: number;
  /** Empty it, as if it had lost everything. */
  flush(): Promise<void>;
  /** `kill -9`, then a new and empty one on the same port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const START_ATTEMPTS = 5;
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

/** Start a real redis-server on a free port, which keeps nothing on disk and ends with the test process. */
export async function startRedis(): Promise<TestRedis> {
  const directory = await makeTemporaryDirectory();
  for (let attempt = 1; ; attempt += 1) {
    const port = await findQuietPort();
    try {
      return handleOf(port, await launch(port, directory.path), directory.path, directory.remove);
    } catch (error) {
      if (attempt === START_ATTEMPTS) {
        await directory.remove();
        throw error;
      }
    }
  }
}

function handleOf(
  port: number,
  first: ChildProcess,
  directory: string,
  removeDirectory: () => Promise<void>,
): TestRedis {
  let child = first;
  return {
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid ?? 0;
    },
    flush: async () => {
      const client = connect(port);
      try {
        await client.flushall();
      } finally {
        client.disconnect();
      }
    },
    restart: async () => {
      await end(child);
      child = await launch(port, directory);
    },
    stop: async () => {
      await end(child);
      await removeDirectory();
    },
  };
}

async function launch(port: number, directory: string): Promise<ChildProcess> {
  const redis = findProgram('redis-server') ?? 'redis-server';
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory];
  const noFiles = ['--save', '', '--appendonly', 'no', '--daemonize', 'no'];
  // Where `setpriv` is missing a killed test run leaves its Redis behind, which harms nothing.
  const setpriv = findProgram('setpriv');
  const [program = redis, ...args] = [
    ...(setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL', '--']),
    ...[redis, ...settings, ...noFiles],
  ];
  const child = spawn(program, args, { stdio: 'ignore' });
  await once(child, 'spawn');
  try {
    await waitForPong(port, child);
  } catch (error) {
    await end(child);
    throw error;
  }
  return child;
}

async function waitForPong(port: number, child: ChildProcess): Promise<void> {
  const end = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const client = connect(port);
    try {
      const info = await client.info('server');
      // Not just any Redis: another one may have been quicker to take the port.
      if (info.includes(`process_id:${child.pid}`)) {
        return;
      }
    } catch {
      // Not listening yet.
    } finally {
      client.disconnect();
    }
    if (hasExited(child) || performance.now() > end) {
      throw new Error(`redis-server does not answer on port ${port}.`);
    }
    await sleep(POLL_MS);
  }
}

function connect(port: number): Redis {
  const client = new Redis({ host: '127.0.0.1', port, retryStrategy: () => null });
  // The command that meets the error is rejected with it.
  client.on('error', () => undefined);
  return client;
}

async function end(child: ChildProcess): Promise<void> {
  if (!hasExited(child)) {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
