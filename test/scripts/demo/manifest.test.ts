import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { differences, readManifest } from '../../../scripts/demo/manifest.ts';
import {
  makeTemporaryDirectory,
  type TemporaryDirectory,
} from '../../support/temporary-directory.ts';

let directory: TemporaryDirectory;

beforeEach(async () => {
  directory = await makeTemporaryDirectory();
  await mkdir(join(directory.path, 'bin'));
  await mkdir(join(directory.path, '.git'));
  await writeFile(join(directory.path, '.git/HEAD'), 'ref');
  await writeFile(join(directory.path, 'bin/start'), 'start', { mode: 0o755 });
  await writeFile(join(directory.path, 'bin/version'), '1');
});

afterEach(() => directory.remove());

test("a manifest names all files of a folder but git's own", async () => {
  expect([...(await readManifest(directory.path)).keys()]).toEqual(['bin/start', 'bin/version']);
});

test('a file that is missing, new, changed or no longer executable is a difference', async () => {
  const before = await readManifest(directory.path);
  expect(differences(before, await readManifest(directory.path))).toEqual([]);
  await chmod(join(directory.path, 'bin/start'), 0o644);
  expect(differences(before, await readManifest(directory.path))).toEqual([
    'bin/start is not what was uploaded',
  ]);
  await rm(join(directory.path, 'bin/start'));
  await writeFile(join(directory.path, 'bin/version'), '2');
  await writeFile(join(directory.path, 'bin/new'), '');
  expect(differences(before, await readManifest(directory.path))).toEqual([
    'bin/start is missing',
    'bin/new should not be there',
    'bin/version is not what was uploaded',
  ]);
});
