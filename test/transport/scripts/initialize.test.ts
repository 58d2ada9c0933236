import {
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type CloneLab,
  failureOf,
  gitLine,
  HOSTILE,
  labOn,
  makeCloneLab,
  snapshot,
} from './clone-lab.ts';

let lab: CloneLab;
const file = (name: string): string => join(lab.path, name);
const read = async (name: string): Promise<string> => await readFile(file(name), 'utf8');

beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

describe('initialize', () => {
  it('makes a clone of Muster on the branch, with nothing to report', async () => {
    const commit = lab.upstream.commit({
      'a.txt': 'a\n',
      run: { run: '#!/bin/sh\n' },
      link: { link: 'a.txt' },
      ...HOSTILE,
    });
    expect(await lab.initialize(commit, { gitignore: ['*.log', '/cache dir/'] })).toEqual({
      ok: true,
      state: 'created',
      head: commit,
    });
    expect(gitLine(lab.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/master');
    expect(gitLine(lab.path, 'rev-parse', '@{upstream}')).toBe(commit);
    expect(gitLine(lab.path, 'config', 'user.name')).toBe('Muster');
    await writeFile(file('x.log'), '');
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
    expect((await stat(file('run'))).mode & 0o111).toBe(0o111);
    expect(await readlink(file('link'))).toBe('a.txt');
    for (const [name, content] of Object.entries(HOSTILE)) expect(await read(name)).toBe(content);
    expect(await readdir(join(lab.path, '..'))).toEqual(['app']);
  });

  it('cannot be pushed from', async () => {
    await lab.initialize(lab.upstream.commit({ a: '1\n' }));
    expect(() => gitLine(lab.path, 'push', 'origin', 'master')).toThrow(/disabled/);
  });

  it('takes a commit without any file', async () => {
    expect((await lab.initialize(lab.upstream.commit({}))).state).toBe('created');
    expect(await readdir(lab.path)).toEqual(['.git']);
  });

  it('is the same when done again, but for a new exclude list', async () => {
    const commit = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(commit);
    const before = snapshot(lab.path);
    expect(await lab.initialize(commit, { gitignore: ['later'] })).toEqual({
      ok: true,
      state: 'already',
      head: commit,
    });
    expect(snapshot(lab.path)).toBe(before);
    expect(await readFile(file('.git/info/exclude'), 'utf8')).toContain('\nlater\n');
  });

  it('refuses a missing parent and names it', async () => {
    const path = join(lab.root, 'no where/app');
    const error = await failureOf(lab.initialize(lab.upstream.commit({}), { path }));
    expect(error.code).toBe('path_parent_missing');
    expect(error.details).toEqual({ parent: join(lab.root, 'no where') });
    expect(await readdir(lab.root)).toEqual(['opt']);
  });

  it('refuses what is there already and leaves it alone', async () => {
    const commit = lab.upstream.commit({ a: '1\n' });
    await mkdir(lab.path);
    await writeFile(file('theirs'), 'x');
    expect((await failureOf(lab.initialize(commit))).code).toBe('path_occupied');
    expect(await readdir(lab.path)).toEqual(['theirs']);
    await rm(lab.path, { recursive: true });
    await writeFile(lab.path, 'a file');
    expect((await failureOf(lab.initialize(commit))).code).toBe('path_occupied');
    expect(await readFile(lab.path, 'utf8')).toBe('a file');
    await rm(lab.path);
    await lab.initialize(commit, { installationId: 'another' });
    const before = snapshot(lab.path);
    const error = await failureOf(lab.initialize(commit));
    expect(error.code).toBe('path_occupied');
    expect(error.message).toMatch(/is a clone that Muster made for another gitdeploy, or for one/);
    expect(error.message).toMatch(/move the clone away or remove it/);
    expect(snapshot(lab.path)).toBe(before);
  });

  it('refuses the link of an atomic switch that was not deinitialized, and says so', async () => {
    const commit = lab.upstream.commit({ a: '1\n' });
    const home = join(lab.root, 'opt/.app.muster');
    await lab.initialize(commit, { path: home, installationId: 'another' });
    await symlink('.app.muster', lab.path);
    const error = await failureOf(lab.initialize(commit));
    expect(error.code).toBe('path_occupied');
    expect(error.message).toContain('is a clone that Muster made');
    expect(await readlink(lab.path)).toBe('.app.muster');
  });

  it('uses an empty folder as it is, with its mode', async () => {
    const commit = lab.upstream.commit({ a: '1\n', '.dot/file': '2\n', '..odd': '3\n' });
    await mkdir(lab.path);
    await chmod(lab.path, 0o2750);
    expect((await lab.initialize(commit)).state).toBe('created');
    expect((await stat(lab.path)).mode & 0o7777).toBe(0o2750);
    expect((await readdir(lab.path)).sort()).toEqual(['..odd', '.dot', '.git', 'a']);
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
  });

  it.each([false, true])(
    'leaves nothing behind when the pack is broken (folder exists: %s)',
    async (exists) => {
      if (exists) await mkdir(lab.path);
      const commit = lab.upstream.commit({ a: '1\n' });
      const other = lab.upstream.commit({ b: '1\n' });
      for (const pack of [lab.upstream.pack(commit).subarray(0, -5), lab.upstream.pack(other)]) {
        const { initialize } = labOn(
          lab.connection,
          { ...lab.upstream, pack: () => pack },
          '/opt/app',
        );
        expect((await failureOf(initialize(commit))).code).toBe('command_failed');
        expect(await readdir(join(lab.root, 'opt'), { recursive: true })).toEqual(
          exists ? ['app'] : [],
        );
      }
    },
  );
});
