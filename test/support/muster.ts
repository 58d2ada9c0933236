import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createTestDatabase } from './postgres.ts';
import { startRedis } from './redis.ts';
import { captureOutput, registerSecretFiles, registerSecretSettings } from './run-output.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';

export type Mode = 'embedded' | 'distributed';

/** A running Muster: the built program in processes of its own, as users run it. */
export interface TestMuster {
  readonly url: string;
  readonly token: string;
  readonly dataDirectory: string;
  /** Of its own processes, without PostgreSQL and the like. */
  processIds(): number[];
  /** Everything that its processes wrote. */
  output(): string;
  /** Ends it cleanly and starts it again on the same data. The address may change. */
  restart(): Promise<void>;
  /** Kills every worker of its own as `kill -9` does; what they did is left as it stands. */
  killWorkers(): Promise<void>;
  /** Starts one more worker. */
  startWorker(): Promise<void>;
  /** Ends everything. @throws if a process did not end cleanly */
  close(): Promise<void>;
}

const PROJECT = join(import.meta.dirname, '../..');
const START_MS = 120_000;
/** Longer than Muster gives itself. */
const STOP_MS = 60_000;

const ENTRIES: Record<Mode, readonly string[]> = {
  embedded: ['dist/workers/embedded.js'],
  distributed: ['dist/src/server.js', 'dist/workers/worker.js', 'dist/workers/worker.js'],
};

/** Starts Muster: all in one process with its own PostgreSQL, or one API and two workers with PostgreSQL and Redis. */
export async function startMuster(
  mode: Mode,
  environment: Readonly<Record<string, string>> = {},
): Promise<TestMuster> {
  const directory = await makeTemporaryDirectory();
  // PostgreSQL's account passes through, else it would keep its files elsewhere, where nobody removes them.
  await chmod(directory.path, 0o755);
  const dataDirectory = join(directory.path, 'data');
  const backends = mode === 'distributed' ? await startBackends() : null;
  const settings = {
    // The more it writes, the more is looked through for secrets.
    MUSTER_LOG_LEVEL: 'trace',
    ...environment,
    ...backends?.settings,
    MUSTER_DATA_DIR: dataDirectory,
    MUSTER_PORT: '0',
  };
  registerSecretSettings(settings);
  let processes: Process[] = [];
  let output = '';
  const start = async (): Promise<void> => {
    processes = [];
    for (const entry of ENTRIES[mode]) {
      processes.push(await startProcess(entry, settings, (text) => (output += text)));
    }
  };
  const stop = async (): Promise<void> => {
    const codes = await Promise.all(processes.map(stopProcess));
    processes = [];
    if (codes.some((code) => code !== 0)) {
      throw new Error(
        `Muster ended with the exit codes ${codes.join(', ')}:\n${output.slice(-4000)}`,
      );
    }
  };
  try {
    await start();
    registerSecretFiles(dataDirectory);
  } catch (error) {
    for (const { child } of processes) child.kill('SIGKILL');
    await backends?.stop();
    await directory.remove();
    throw error;
  }
  const token =
    environment['MUSTER_ADMIN_TOKEN'] ??
    (await readFile(join(dataDirectory, 'admin-token'), 'utf8')).trim();
  return {
    get url() {
      return processes[0]?.url ?? '';
    },
    token,
    dataDirectory,
    processIds: () => processes.flatMap(({ child }) => child.pid ?? []),
    output: () => output,
    restart: async () => {
      await stop();
      await start();
    },
    killWorkers: async () => {
      const workers = processes.filter(({ url }) => url === '');
      processes = processes.filter(({ url }) => url !== '');
      await Promise.all(
        workers.map(async ({ child }) => {
          const ended = once(child, 'exit');
          child.kill('SIGKILL');
          await ended;
        }),
      );
    },
    startWorker: async () => {
      const worker = await startProcess('dist/workers/worker.js', settings, (text) => {
        output += text;
      });
      processes.push(worker);
    },
    close: async () => {
      try {
        await stop();
      } finally {
        await backends?.stop();
        await directory.remove();
      }
    },
  };
}

async function startBackends(): Promise<{
  settings: Record<string, string>;
  stop: () => Promise<void>;
}> {
  const [database, redis] = await Promise.all([createTestDatabase({ empty: true }), startRedis()]);
  return {
    settings: { DATABASE_URL: database.databaseUrl, REDIS_URL: redis.url },
    stop: async () => {
      await redis.stop();
      await database.drop();
    },
  };
}

interface Process {
  readonly child: ChildProcess;
  /** Of an API process; empty for a worker. */
  readonly url: string;
}

async function startProcess(
  entry: string,
  settings: Readonly<Record<string, string>>,
  onOutput: (text: string) => void,
): Promise<Process> {
  const path = join(PROJECT, entry);
  if (!existsSync(path)) throw new Error(`${entry} is missing; run npm run build first.`);
  const child = spawn(process.execPath, [path], {
    cwd: PROJECT,
    env: { PATH: process.env['PATH'] ?? '', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const capture = captureOutput(basename(entry));
  let standardOutput = '';
  const ready = new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${entry} did not start in time`)), START_MS);
    child.stdout.on('data', (chunk: Buffer) => {
      capture(chunk);
      standardOutput += chunk.toString();
      onOutput(chunk.toString());
      const line = /^muster (?:listening on (http:\S+)|worker ready)$/m.exec(standardOutput);
      if (line !== null) {
        clearTimeout(timer);
        resolve(line[1] ?? '');
      }
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`${entry} ended with exit code ${code} before it was ready`));
    });
  });
  child.stderr.on('data', (chunk: Buffer) => {
    capture(chunk);
    onOutput(chunk.toString());
  });
  try {
    return { child, url: await ready };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

async function stopProcess({ child }: Process): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
  return child.exitCode;
}
