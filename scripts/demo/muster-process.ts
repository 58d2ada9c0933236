import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { isFree } from '../fleet/quiet-port.ts';
import { type ProcessMark, processMark } from './process-mark.ts';

/** A Muster that this demo has started: API, worker and PostgreSQL. */
export interface MusterProcess {
  /** `http://127.0.0.1:2718` */
  readonly address: string;
  readonly mark: ProcessMark;
  /** Resolves with how it ended, whoever ended it. */
  readonly ended: Promise<string>;
  /** Ends it with its PostgreSQL. @throws {Error} if it does not end well, or has ended by itself before */
  stop(): Promise<void>;
}

export interface MusterOptions {
  readonly data: string;
  readonly log: string;
  /** Null: 2718, or any free one if that is taken. */
  readonly port: number | null;
  readonly signal: AbortSignal;
}

const ENTRY = fileURLToPath(new URL('../../workers/embedded.js', import.meta.url));
const DEFAULT_PORT = 2718;
const START_TIMEOUT_MS = 180_000;
/** Longer than Muster gives itself. */
const STOP_TIMEOUT_MS = 60_000;
const SETPRIV = '/usr/bin/setpriv';
const LISTENING = /^muster listening on (http:\/\/\S+)$/;
const LOG_LINES = 5;
const ENDED_WELL = 'exit code 0';

/**
 * Starts Muster in the embedded mode and waits until it answers.
 * @throws {Error} with the last words of its log if it does not start
 */
export async function startMuster(options: MusterOptions): Promise<MusterProcess> {
  await mkdir(options.data, { recursive: true });
  const port = options.port ?? ((await isFree(DEFAULT_PORT)) ? DEFAULT_PORT : 0);
  const log = await open(options.log, 'a');
  let child: ChildProcess;
  try {
    const [program = '', ...args] = [...dieWithParent(), process.execPath, ENTRY];
    child = spawn(program, args, {
      // A `.env` of the folder where the demo was started is not for this Muster.
      cwd: options.data,
      env: {
        ...inheritedEnvironment(),
        MUSTER_DATA_DIR: options.data,
        MUSTER_HOST: '127.0.0.1',
        MUSTER_PORT: `${port}`,
      },
      stdio: ['ignore', 'pipe', log.fd],
      // In a process group of its own: Ctrl-C reaches this demo alone, which then ends Muster in the right order.
      detached: true,
    });
  } finally {
    await log.close();
  }
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const end = async (): Promise<string> => {
    child.kill('SIGTERM');
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const how = await ended;
    clearTimeout(killer);
    return how;
  };
  const stop = async (): Promise<void> => {
    const how = await end();
    if (how !== ENDED_WELL) throw new Error(`Muster did not end well, but with ${how}.`);
  };
  try {
    const address = await waitForAddress(child.stdout, ended, options.signal);
    child.stdout?.resume();
    return { address, mark: await processMark(child.pid ?? 0), ended, stop };
  } catch (error) {
    await end();
    options.signal.throwIfAborted();
    throw new Error(`Muster did not start. ${await lastWords(options.log)}`, { cause: error });
  }
}

async function waitForAddress(
  stdout: Readable | null,
  ended: Promise<string>,
  stopping: AbortSignal,
): Promise<string> {
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(START_TIMEOUT_MS)]);
  if (stdout === null) throw new Error('Muster could not be started.');
  const lines = createInterface({ input: stdout });
  try {
    return await new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        const [, address] = LISTENING.exec(line) ?? [];
        if (address !== undefined) resolve(address);
      });
      void ended.then((how) => reject(new Error(`Muster ended with ${how}.`)));
      signal.addEventListener('abort', () => reject(signal.reason));
      if (signal.aborted) reject(signal.reason);
    });
  } finally {
    lines.close();
  }
}

/** A demo that is killed must not leave a Muster behind: Linux tells it, where util-linux is installed. */
function dieWithParent(): readonly string[] {
  return process.platform === 'linux' && existsSync(SETPRIV)
    ? [SETPRIV, '--pdeathsig', 'TERM', '--']
    : [];
}

/** Settings that somebody has made for another Muster, its database and queue above all, are not for this one. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !name.startsWith('MUSTER_') && name !== 'DATABASE_URL' && name !== 'REDIS_URL',
    ),
  );
}

/** What Muster said when it gave up, or else the end of its log. */
async function lastWords(log: string): Promise<string> {
  const lines = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n');
  const gaveUp = lines.findLastIndex((line) => line.startsWith('muster cannot start: '));
  const told = gaveUp === -1 ? lines.slice(-LOG_LINES) : lines.slice(gaveUp, gaveUp + LOG_LINES);
  return `Its last words:\n${told.join('\n')}`;
}
