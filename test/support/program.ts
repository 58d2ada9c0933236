import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { captureOutput, registerSecretFiles, registerSecretSettings } from './run-output.ts';

const PROJECT = join(import.meta.dirname, '../..');
const TIME_MS = 150_000;

/** How a program ended and what it said. */
export interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A built program of Muster that runs, with nothing of the test's own environment but its PATH. */
export interface Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Waits for something that it writes, as output or as log. @throws if it ends without */
  says(pattern: RegExp): Promise<RegExpExecArray>;
}

/** @param uid the user to run as, for root; default the present one */
export function startProgram(
  entry: string,
  environment: Readonly<Record<string, string>>,
  uid?: number,
): Program {
  const path = join(PROJECT, entry);
  if (!existsSync(path)) throw new Error(`${entry} is missing; run npm run build first.`);
  const child = spawn(process.execPath, [path], {
    // A folder without a `.env`.
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid }),
  });
  const said = { stdout: '', stderr: '' };
  const timer = setTimeout(() => child.kill('SIGKILL'), TIME_MS);
  registerSecretSettings(environment);
  const capture = captureOutput(basename(entry));
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      capture(chunk);
      said[name] += chunk.toString();
    });
  }
  child.stdout.once('data', () => registerSecretFiles(environment['MUSTER_DATA_DIR']));
  const ended = once(child, 'close').then(() => {
    clearTimeout(timer);
    registerSecretFiles(environment['MUSTER_DATA_DIR']);
    return { exitCode: child.exitCode, ...said };
  });
  return {
    child,
    ended,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(said.stdout) ?? pattern.exec(said.stderr);
          if (found !== null) resolve(found);
        };
        for (const stream of [child.stdout, child.stderr]) stream.on('data', look);
        void ended.then(() => reject(new Error(`${entry} ended: ${said.stderr.slice(-2000)}`)));
        look();
      }),
  };
}

/** Runs a built program to its end. */
export function runProgram(
  entry: string,
  environment: Readonly<Record<string, string>>,
  uid?: number,
): Promise<Ended> {
  return startProgram(entry, environment, uid).ended;
}
