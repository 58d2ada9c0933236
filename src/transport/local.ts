import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError } from '../domain/errors.ts';
import type { RemoteScript } from '../remote/script.ts';
import {
  type Connection,
  DEFAULT_MAX_OUTPUT_BYTES,
  type RunOptions,
  type RunResult,
} from './connection.ts';
import { dialTcp } from './dial.ts';
import { keepTail } from './output-tail.ts';
import { TERM_GRACE_MS, watchTheClock } from './run-limits.ts';

/** A folder that stands for a server. */
export interface LocalServerOptions {
  readonly name: string;
  readonly root: string;
  /** Where scripts find programs such as git. */
  readonly searchPath: string;
  /** The argv of the shell that runs scripts. Default `['sh']`. */
  readonly shell?: readonly string[];
}

/** After the script has ended, what it left running may hold its output open this long. */
const OUTPUT_GRACE_MS = 500;

/**
 * The connection to a folder that stands for a server: the same scripts, run on this machine.
 * @throws {AppError} `server_unreachable` if the folder does not exist
 */
export async function connectLocal(options: LocalServerOptions): Promise<Connection> {
  const { name, root, searchPath, shell = ['sh'] } = options;
  const isFolder = await stat(root).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) {
    throw new AppError(
      'server_unreachable',
      `The folder ${root} that stands for server ${name} does not exist; make it or change the server's root.`,
      { details: { server: name, root }, retryable: true },
    );
  }
  return {
    isLocal: true,
    isNear: true,
    hostKey: null,
    pathOn: (path) => (path === '/' ? root : join(root, checkAbsolute(path))),
    run: async (script, runOptions) =>
      await runLocally({ shell, env: { PATH: searchPath, HOME: homedir() } }, script, runOptions),
    forward: dialTcp,
  };
}

/** @throws {AppError} `invalid_input` */
export function checkAbsolute(path: string): string {
  if (!path.startsWith('/') || path.split('/').some((part) => part === '..' || part === '.')) {
    throw new AppError(
      'invalid_input',
      `${JSON.stringify(path)} is not an absolute path without "." and "..".`,
    );
  }
  return path;
}

async function runLocally(
  { shell, env }: { shell: readonly string[]; env: Readonly<Record<string, string>> },
  script: RemoteScript,
  options: RunOptions,
): Promise<RunResult> {
  options.signal?.throwIfAborted();
  const { timeoutMs, onOutput, onStdout, maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES } = options;
  const [program = 'sh', ...shellArgs] = shell;
  // A group of its own, so that the end of a script is the end of all that it started.
  const child = spawn(program, [...shellArgs, '-c', script.text, 'muster', ...script.args], {
    detached: true,
    // Fixed and minimal: of Muster's own settings and secrets a script sees nothing.
    env: { ...env, ...script.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stdout', text }));
  const stderr = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stderr', text }));
  child.stdout.on('data', stdout.push);
  if (onStdout !== undefined) child.stdout.on('data', onStdout);
  child.stderr.on('data', stderr.push);
  const kill = (signal: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch {
      // The group has ended.
    }
  };

  return await new Promise((resolve, reject) => {
    let failure: unknown;
    let killer: NodeJS.Timeout | undefined;
    let source: Readable | undefined;
    const stop = (reason: unknown): void => {
      if (failure !== undefined) return;
      failure = reason;
      kill('SIGTERM');
      killer = setTimeout(() => kill('SIGKILL'), TERM_GRACE_MS);
    };
    const stopClock = watchTheClock(script, { timeoutMs, signal: options.signal }, stop);
    const settle = (exitCode: number | null, signal: NodeJS.Signals | null): void => {
      stopClock();
      clearTimeout(killer);
      source?.destroy();
      child.stdin.destroy();
      // Whatever a script that was stopped has left behind goes with it.
      if (failure !== undefined) kill('SIGKILL');
      const ended = { stdout: stdout.end(), stderr: stderr.end() };
      if (failure !== undefined) reject(failure);
      else resolve({ exitCode, signal: signal?.replace(/^SIG/, '') ?? null, ...ended });
    };
    child.once('error', (error) => {
      stopClock();
      reject(
        new AppError('server_unreachable', `${program} cannot be started: ${error.message}`, {
          cause: error,
        }),
      );
    });
    child.once('close', settle);
    child.once('exit', () => {
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, OUTPUT_GRACE_MS).unref();
    });
    // A script may end without reading all of its input: that is its right.
    child.stdin.on('error', () => source?.destroy());
    if (options.stdin === undefined) child.stdin.end();
    else {
      source = options.stdin();
      source.once('error', stop);
      source.pipe(child.stdin);
    }
  });
}
