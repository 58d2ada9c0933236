import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { type Depot, type DepotWriter, openDepot } from '../../src/depot/depot.ts';
import type { DepotGuard } from '../../src/depot/guard.ts';
import type { AppError, ErrorCode } from '../../src/domain/errors.ts';
import { UNGUARDED } from './unguarded.ts';

const exec = promisify(execFile);
const { PATH } = process.env;

/** A depot in a temporary folder with one application, and a place for files. Whoever opens one closes it. */
export interface DepotFixture {
  /** What only a writer may do is done by one of its own for each call. */
  readonly depot: Depot & DepotWriter;
  /** Lets everybody do everything, unless a test says otherwise. */
  readonly guard: { -readonly [K in keyof DepotGuard]: DepotGuard[K] };
  readonly directory: string;
  readonly applicationId: string;
  /** The application's git directory. */
  readonly gitDir: string;
  /** Writes an archive for `ingestBuild`. */
  spool(bytes: Buffer): Promise<string>;
  /** A path in the temporary folder that nothing is at. */
  path(name: string): string;
  /** Removes everything; to be returned from `beforeAll`. */
  close(): Promise<void>;
}

export async function openDepotFixture(): Promise<DepotFixture> {
  const root = await mkdtemp(join(tmpdir(), 'muster-depot-'));
  const directory = join(root, 'depot');
  const guard = { ...UNGUARDED };
  const opened = await openDepot({ directory, guard });
  const depot = {
    ...opened,
    commitTree: (o) => opened.write(o, (writer) => writer.commitTree(o)),
    fetchBranch: (o) => opened.write(o, (writer) => writer.fetchBranch(o)),
    keepHead: (o) => opened.write(o, (writer) => writer.keepHead(o)),
  } satisfies Depot & DepotWriter;
  const applicationId = 'app-1';
  await depot.createRepository(applicationId);
  let spooled = 0;
  return {
    depot,
    guard,
    directory,
    applicationId,
    gitDir: join(directory, `${applicationId}.git`),
    async spool(bytes) {
      spooled += 1;
      const path = join(root, `upload-${spooled}`);
      await writeFile(path, bytes);
      return path;
    },
    path: (name) => join(root, name),
    close: () => rm(root, { recursive: true, force: true }),
  };
}

/** Runs git as a user would, without the depot's own code. */
export async function git(args: readonly string[], cwd?: string): Promise<string> {
  const { stdout } = await exec('git', [...args], {
    ...(cwd === undefined ? {} : { cwd }),
    maxBuffer: 64 * 1024 ** 2,
    env: {
      PATH: PATH ?? '',
      HOME: '/nonexistent',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 't',
      GIT_AUTHOR_EMAIL: 't@localhost',
      GIT_COMMITTER_NAME: 't',
      GIT_COMMITTER_EMAIL: 't@localhost',
    },
  });
  return stdout.trim();
}

/** Sends bytes through a program. */
export async function filter(
  program: string,
  args: readonly string[],
  input: Buffer,
): Promise<Buffer> {
  const child = spawn(program, [...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Awaits the failure of something and holds it to a code; hands the error back for a closer look. */
export async function failure(work: Promise<unknown>, code: ErrorCode): Promise<AppError> {
  const error = await work.then(
    () => null,
    (thrown: AppError) => thrown,
  );
  expect(error).toMatchObject({ name: 'AppError', code });
  if (error === null) throw new Error('unreachable');
  return error;
}

/** A small generator of repeatable noise, so that nothing compresses by accident. */
export function noise(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = seed;
  for (let index = 0; index < sizeBytes; index += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[index] = state >>> 16;
  }
  return bytes;
}
