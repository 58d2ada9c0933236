import { randomUUID } from 'node:crypto';
import { access, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../domain/errors.ts';
import { type GitSurroundings, runGit, storageError } from './git.ts';

/** The folder of the depot and the git that works in it. */
export interface DepotFolder {
  /** Holds `<applicationId>.git`, and what is in the making under names that no application can have. */
  readonly directory: string;
  /** Same file system as the repositories, so that a rename takes things over at once. */
  readonly temporary: string;
  readonly git: GitSurroundings;
}

const MIN_GIT_VERSION = [2, 20] as const;
const LEFTOVER_AGE_MS = 24 * 3600 * 1000;
const APPLICATION_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Makes the folder ready, checks that git is there and clears away what a crash has left.
 * @throws {AppError} `storage_failed` if git is missing or older than 2.20, or the folder cannot be written
 */
export async function openDepotFolder(o: {
  readonly directory: string;
  readonly searchPath: string;
}): Promise<DepotFolder> {
  const git: GitSurroundings = { home: join(o.directory, '.home'), searchPath: o.searchPath };
  const folder: DepotFolder = {
    directory: o.directory,
    temporary: join(o.directory, '.tmp'),
    git,
  };
  try {
    await mkdir(git.home, { recursive: true });
    await mkdir(folder.temporary, { recursive: true });
    await removeLeftovers(folder);
  } catch (error) {
    throw storageError(error);
  }
  await assertGitVersion(git);
  return folder;
}

/** The git directory of an application. @throws {AppError} `internal` if the id could lead elsewhere */
export function repositoryPath(folder: DepotFolder, applicationId: string): string {
  if (!APPLICATION_ID.test(applicationId)) {
    throw new AppError('internal', 'An application id is malformed; please report this.');
  }
  return join(folder.directory, `${applicationId}.git`);
}

/** Makes the repository of an application unless it is there. Two at once do no harm. */
export async function createRepository(folder: DepotFolder, applicationId: string): Promise<void> {
  const target = repositoryPath(folder, applicationId);
  if (await exists(target)) return;
  await withTemporary(folder, 'create', async (path) => {
    await runGit(folder.git, { args: ['init', '--quiet', '--bare', '--template=', '--', path] });
    // Git knows the empty tree without having it, but not every command of every version does.
    await runGit(folder.git, {
      gitDir: path,
      args: ['hash-object', '-t', 'tree', '-w', '--stdin'],
      input: '',
    });
    try {
      // Appears at once and whole, or not at all.
      await rename(path, target);
    } catch (error) {
      if (!(await exists(target))) throw storageError(error);
    }
  });
}

/** Removes the repository of an application with everything in it; nothing happens if there is none. */
export async function removeRepository(folder: DepotFolder, applicationId: string): Promise<void> {
  const target = repositoryPath(folder, applicationId);
  await withTemporary(folder, 'remove', async (path) => {
    try {
      await rename(target, path);
    } catch (error) {
      if (await exists(target)) throw storageError(error);
    }
  });
}

/**
 * Lends a path in the depot's temporary folder and removes whatever is there afterwards, come what may.
 * @param purpose a word that tells a person what the file was for
 */
export async function withTemporary<T>(
  folder: DepotFolder,
  purpose: string,
  work: (path: string) => Promise<T>,
): Promise<T> {
  const path = temporaryPath(folder, purpose);
  try {
    return await work(path);
  } finally {
    await removeQuietly(path);
  }
}

/** A new path in the temporary folder; its user removes it with `removeQuietly`. */
export function temporaryPath(folder: DepotFolder, purpose: string): string {
  return join(folder.temporary, `${purpose}-${randomUUID()}`);
}

/** Removes a temporary file or folder. What cannot be removed now is removed when the depot is opened next. */
export async function removeQuietly(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 2 }).catch(() => {});
}

async function assertGitVersion(git: GitSurroundings): Promise<void> {
  const text = await runGit(git, { args: ['version'], timeoutMs: 30_000 });
  const [, major = '0', minor = '0'] = /(\d+)\.(\d+)/.exec(text) ?? [];
  const [minMajor, minMinor] = MIN_GIT_VERSION;
  if (Number(major) > minMajor || (Number(major) === minMajor && Number(minor) >= minMinor)) return;
  throw new AppError(
    'storage_failed',
    `The depot needs git ${MIN_GIT_VERSION.join('.')} or newer, but found "${text.trim()}"; please upgrade git.`,
  );
}

/** By age, because other processes work in the same depot. */
async function removeLeftovers(folder: DepotFolder): Promise<void> {
  const oldest = Date.now() - LEFTOVER_AGE_MS;
  for (const name of await readdir(folder.temporary)) {
    const path = join(folder.temporary, name);
    const found = await stat(path).catch(() => null);
    if (found !== null && found.mtimeMs < oldest) await removeQuietly(path);
  }
}

/** Whether there is anything at a path. */
export async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
