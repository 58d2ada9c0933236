import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lockDataDirectory } from '../../src/embedded/data-directory-lock.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

let folder: TemporaryDirectory;

beforeEach(async () => {
  folder = await makeTemporaryDirectory();
});

afterEach(() => folder.remove());

async function tryLock(directory: string): Promise<'locked' | 'refused'> {
  try {
    await lockDataDirectory(directory);
    return 'locked';
  } catch (error) {
    expect(error).toMatchObject({ code: 'conflict' });
    return 'refused';
  }
}

const HOLDER = new URL('./fixtures/hold-lock.ts', import.meta.url).pathname;

describe('lockDataDirectory', () => {
  test('names the process that has the directory', async () => {
    await lockDataDirectory(folder.path);
    await expect(lockDataDirectory(folder.path)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`process ${process.pid}`),
      details: { pid: process.pid, directory: folder.path },
    });
  });

  test('gives the directory free on release, and only its own hold of it', async () => {
    const first = await lockDataDirectory(folder.path);
    await first.release();
    const second = await lockDataDirectory(folder.path);
    await first.release();
    expect(await tryLock(folder.path)).toBe('refused');
    await second.release();
    expect(await tryLock(folder.path)).toBe('locked');
  });

  test('takes over from a process that was killed', async () => {
    const holder = spawn(process.execPath, ['--import', 'tsx', HOLDER, folder.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(createInterface(holder.stdout), 'line');
    expect(await tryLock(folder.path)).toBe('refused');
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    expect(await tryLock(folder.path)).toBe('locked');
  });

  test('takes over when the number of the dead process belongs to another one by now', async () => {
    await writeFile(join(folder.path, 'lock.1'), `${process.pid}\nearlier boot 1\n`);
    expect(await tryLock(folder.path)).toBe('locked');
  });

  test('lets exactly one of many win a stale lock, and leaves one file', async () => {
    await writeFile(join(folder.path, 'lock.7'), '999999999\nlong ago\n');
    const results = await Promise.all(Array.from({ length: 30 }, () => tryLock(folder.path)));
    expect(results.filter((result) => result === 'locked')).toHaveLength(1);
    expect(await readdir(folder.path)).toEqual(['lock.8']);
  });
});
