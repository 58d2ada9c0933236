import { randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../domain/errors.ts';
import { isErrorWithCode, readStartMark } from './processes.ts';

export interface DataDirectoryLock {
  /** Give the directory free. May be called more than once. */
  release(): Promise<void>;
}

const LOCK_FILE = /^lock\.(\d+)$/;

/**
 * Make this process the only Muster of a data directory until `release()` or its death.
 *
 * Node has no `flock`, so the lock is a file `lock.<n>` that names its process, and the highest n is the one that
 * counts. A free or dead lock n is taken by making n+1, which `link` lets only one process do. The highest file is never
 * deleted, only those below it: a slow process that makes a lower number again sees the higher one and gives way.
 * @throws {AppError} `conflict`, naming the process that has the directory
 */
export async function lockDataDirectory(directory: string): Promise<DataDirectoryLock> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const draft = join(directory, `lock-draft-${randomUUID()}`);
  await writeFile(draft, `${process.pid}\n${(await readStartMark(process.pid)) ?? ''}\n`);
  try {
    for (;;) {
      const [highest = 0] = await readLockNumbers(directory);
      await refuseIfHeld(directory, highest);
      if (await takeNumber(directory, draft, highest + 1)) {
        return { release: () => markFree(directory, highest + 1) };
      }
    }
  } finally {
    await rm(draft, { force: true });
  }
}

async function refuseIfHeld(directory: string, lockNumber: number): Promise<void> {
  const text = await readLock(directory, lockNumber);
  const [pid = '', startMark] = text.split('\n');
  if (pid !== '' && (await readStartMark(Number(pid))) === startMark) {
    throw new AppError(
      'conflict',
      `Muster is already running on ${directory} as process ${pid}; please stop it or choose another data directory.`,
      { details: { pid: Number(pid), directory } },
    );
  }
}

/** @returns false if another process was quicker */
async function takeNumber(directory: string, draft: string, own: number): Promise<boolean> {
  try {
    await link(draft, lockPath(directory, own));
  } catch (error) {
    if (isErrorWithCode(error, 'EEXIST')) {
      return false;
    }
    throw error;
  }
  const numbers = await readLockNumbers(directory);
  const isHighest = numbers[0] === own;
  const outdated = isHighest ? numbers.slice(1) : [own];
  await Promise.all(outdated.map((number) => rm(lockPath(directory, number), { force: true })));
  return isHighest;
}

async function markFree(directory: string, own: number): Promise<void> {
  const draft = join(directory, `lock-draft-${randomUUID()}`);
  try {
    if ((await readLock(directory, own)) !== '') {
      await writeFile(draft, '');
      await rename(draft, lockPath(directory, own));
    }
  } catch (error) {
    // The directory is gone, and the lock with it.
    if (!isErrorWithCode(error, 'ENOENT')) {
      throw error;
    }
  }
}

/** @returns the text of the lock, empty if it is free or has been replaced meanwhile */
async function readLock(directory: string, lockNumber: number): Promise<string> {
  try {
    return await readFile(lockPath(directory, lockNumber), 'utf8');
  } catch (error) {
    if (isErrorWithCode(error, 'ENOENT')) {
      return '';
    }
    throw error;
  }
}

/** @returns highest first */
async function readLockNumbers(directory: string): Promise<readonly number[]> {
  const names = await readdir(directory);
  const numbers = names.map((name) => Number(LOCK_FILE.exec(name)?.[1] ?? 0));
  return numbers.filter((number) => number > 0).sort((left, right) => right - left);
}

function lockPath(directory: string, lockNumber: number): string {
  return join(directory, `lock.${lockNumber}`);
}
