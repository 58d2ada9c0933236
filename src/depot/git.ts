import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';

/** Where git finds its home and programs; everything else about its surroundings is fixed. */
export interface GitSurroundings {
  /** An empty folder, so that no user's configuration is ever read. */
  readonly home: string;
  /** The PATH that `git` is looked up in. */
  readonly searchPath: string;
}

export interface GitCall {
  /** The git directory to work on; absent for calls that need none. */
  readonly gitDir?: string;
  /** Configuration for this call alone, as `name=value`. */
  readonly config?: readonly string[];
  /** Subcommand, options, and after `--` whatever comes from outside. */
  readonly args: readonly string[];
  /** Added to the fixed environment, e.g. GIT_AUTHOR_NAME. */
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** After this the process is killed and the call fails. Default: ten minutes. */
  readonly timeoutMs?: number;
}

export interface RunGitCall extends GitCall {
  /** Written to standard input, with back-pressure. */
  readonly input?: string | AsyncIterable<Buffer | string>;
  /** More output than this fails the call. Default 64 MiB. */
  readonly maxOutputBytes?: number;
}

/** A running git. Whoever starts one awaits `exited`, or calls `kill` and then awaits it. */
export interface GitProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves when git has ended well; rejects with `storage_failed`, or with the reason of the signal. */
  readonly exited: Promise<void>;
  kill(): void;
}

/** The mode bits of a tree entry that a build can have. */
export type GitFileMode = '100644' | '100755' | '120000';

/** The tree without any file: what a new branch begins with. */
export const EMPTY_TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

const DEFAULT_TIMEOUT_MS = 600_000;
const DEFAULT_MAX_OUTPUT_BYTES = 64 * 1024 ** 2;
const MAX_STDERR_BYTES = 4096;
const OBJECT_ID = /^[0-9a-f]{40}$/;

/** What every git of the depot is told. Source: DESIGN.md "Safety". */
const FIXED_CONFIG = [
  'protocol.ext.allow=never',
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'gc.auto=0',
  // Files over this stream through git instead of being held in memory, and are never delta-compressed.
  'core.bigFileThreshold=16m',
] as const;

/**
 * Starts git with a fixed, minimal environment and no shell.
 * Failures to start and bad ends both surface in `exited`, so that there is one place to look.
 */
export function startGit(git: GitSurroundings, call: GitCall): GitProcess {
  const where = call.gitDir === undefined ? [] : [`--git-dir=${call.gitDir}`];
  const config = [...FIXED_CONFIG, ...(call.config ?? [])].flatMap((each) => ['-c', each]);
  const child = spawn('git', [...where, ...config, ...call.args], {
    cwd: git.home,
    env: {
      PATH: git.searchPath,
      HOME: git.home,
      LC_ALL: 'C',
      TZ: 'UTC',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_ATTR_NOSYSTEM: '1',
      GIT_NO_REPLACE_OBJECTS: '1',
      GIT_TERMINAL_PROMPT: '0',
      ...call.env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // Writing to a git that has died gives EPIPE; why it died is told by `exited`.
  child.stdin.on('error', () => {});
  const exited = watch(child, call);
  // The rejection is seen by whoever awaits; before that it must not end the process.
  exited.catch(() => {});
  return { stdin: child.stdin, stdout: child.stdout, exited, kill: () => child.kill('SIGKILL') };
}

/**
 * Runs git to its end and returns what it wrote.
 * @throws {AppError} `storage_failed` if it ends badly, takes too long or writes too much
 */
export async function runGit(git: GitSurroundings, call: RunGitCall): Promise<string> {
  const child = startGit(git, call);
  const maxOutputBytes = call.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES;
  const chunks: Buffer[] = [];
  let outputBytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    outputBytes += chunk.length;
    if (outputBytes > maxOutputBytes) child.kill();
    else chunks.push(chunk);
  });
  try {
    await writeInput(child, call.input);
    await child.exited;
  } catch (error) {
    child.kill();
    const end: unknown = await child.exited.catch((reason: unknown) => reason);
    // A git that ended early says why; the broken pipe that came of it does not.
    throw isBrokenPipe(error) ? (end ?? error) : error;
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * Runs git and yields what it writes as it comes, with back-pressure. Leaving the loop early ends git.
 * @throws {AppError} `storage_failed` after the last chunk if git ends badly
 */
export async function* streamGit(git: GitSurroundings, call: RunGitCall): AsyncGenerator<Buffer> {
  const child = startGit(git, call);
  const written = writeInput(child, call.input);
  written.catch(() => {});
  try {
    for await (const chunk of child.stdout) yield chunk;
    await child.exited;
    await written;
  } finally {
    child.kill();
    await child.exited.catch(() => {});
  }
}

/**
 * Guards what becomes an argument of git: nothing but a full object id passes.
 * @throws {AppError} `internal`, because ids come from our own rows
 */
export function assertObjectId(id: string): string {
  if (!OBJECT_ID.test(id)) {
    throw new AppError('internal', 'An object id of the depot is malformed; please report this.');
  }
  return id;
}

/** Turns a failure of the file system into `storage_failed`; anything that is an `AppError` already stays as it is. */
export function storageError(cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return isDiskFull(message)
    ? diskFull(cause)
    : new AppError('storage_failed', `The depot could not be read or written: ${message}`, {
        cause,
      });
}

async function writeInput(child: GitProcess, input: RunGitCall['input']): Promise<void> {
  if (input === undefined || typeof input === 'string') {
    child.stdin.end(input);
    return;
  }
  await pipeline(input, child.stdin);
}

function watch(
  child: ChildProcessByStdio<Writable, Readable, Readable>,
  call: GitCall,
): Promise<void> {
  const { signal } = call;
  const timeoutMs = call.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-MAX_STDERR_BYTES);
  });
  return new Promise((resolve, reject) => {
    let isTimedOut = false;
    const kill = (): void => {
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => {
      isTimedOut = true;
      kill();
    }, timeoutMs);
    const settle = (error?: unknown): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', kill);
      if (error === undefined) resolve();
      else reject(error);
    };
    signal?.addEventListener('abort', kill, { once: true });
    if (signal?.aborted === true) kill();
    child.once('error', (cause) => {
      settle(
        new AppError('storage_failed', `Git could not be started: ${cause.message}`, { cause }),
      );
    });
    child.once('close', (exitCode, exitSignal) => {
      if (exitCode === 0) settle();
      else if (signal?.aborted === true) settle(signal.reason);
      else if (isTimedOut) settle(tookTooLong(call, timeoutMs));
      else settle(failed(call, stderr.trim(), exitSignal ?? `exit status ${exitCode}`));
    });
  });
}

function failed(call: GitCall, stderr: string, end: string): AppError {
  if (isDiskFull(stderr)) return diskFull(undefined);
  const command = call.args[0] ?? '';
  return new AppError('storage_failed', `Git ${command} failed in the depot: ${stderr || end}`, {
    details: { command, end },
  });
}

function tookTooLong(call: GitCall, timeoutMs: number): AppError {
  const command = call.args[0] ?? '';
  return new AppError(
    'storage_failed',
    `Git ${command} was ended after ${counted(Math.round(timeoutMs / 1000), 'second')}; the disk of the depot may be overloaded.`,
    { details: { command }, retryable: true },
  );
}

function diskFull(cause: unknown): AppError {
  return new AppError(
    'storage_failed',
    'The disk that holds the depot is full; free some space and try again.',
    { cause, details: { reason: 'disk_full' }, retryable: true },
  );
}

function isBrokenPipe(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  return error.code === 'EPIPE' || error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

function isDiskFull(message: string): boolean {
  return /No space left on device|ENOSPC|Disk quota exceeded|EDQUOT/.test(message);
}
