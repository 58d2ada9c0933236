import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findProgram } from '../support/parts.ts';

const PROJECT = join(import.meta.dirname, '../..');
const START_MS = 120_000;
const STOP_MS = 60_000;

/** A Muster process of the built program. */
export interface MusterProcess {
  readonly pid: number;
  /** Of an API process; empty for a worker. */
  readonly url: string;
  readonly isAlive: boolean;
  /** `kill -9`, and waits until it is gone. */
  kill(): Promise<void>;
  /** @returns the exit code */
  stop(): Promise<number | null>;
}

export async function startMusterProcess(
  entry: 'dist/src/server.js' | 'dist/workers/worker.js' | 'dist/workers/embedded.js',
  settings: Readonly<Record<string, string>>,
  onOutput: (text: string) => void,
): Promise<MusterProcess> {
  // Whatever ends the tests ends Muster, too.
  const setpriv = findProgram('setpriv');
  const [program = '', ...args] = [
    ...(setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL', '--']),
    process.execPath,
    join(PROJECT, entry),
  ];
  const child = spawn(program, args, {
    // A folder without a `.env`.
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const url = await readyAt(child, entry, onOutput);
  const gone = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (gone()) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(timer);
  };
  return {
    pid: child.pid ?? 0,
    url,
    get isAlive() {
      return !gone();
    },
    kill: () => end('SIGKILL'),
    stop: async () => {
      await end('SIGTERM');
      return child.exitCode;
    },
  };
}

function readyAt(
  child: ChildProcess,
  entry: string,
  onOutput: (text: string) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${entry} did not start in time`));
    }, START_MS);
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      onOutput(chunk.toString());
      const line = /^muster (?:listening on (http:\S+)|worker ready)$/m.exec(said);
      if (line === null) return;
      clearTimeout(timer);
      resolve(line[1] ?? '');
    });
    child.stderr?.on('data', (chunk: Buffer) => onOutput(chunk.toString()));
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`${entry} ended with exit code ${code} before it was ready`));
    });
  });
}
