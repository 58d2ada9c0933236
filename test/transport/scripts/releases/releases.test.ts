import {
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { availableShells, failureOf, gitLine, HOSTILE } from '../clone-lab.ts';
import { makeReleaseLab, type ReleaseLab } from './release-lab.ts';

let lab: ReleaseLab;
const file = (name: string): string => join(lab.path, name);
const read = async (name: string): Promise<string> => await readFile(file(name), 'utf8');
const around = async (): Promise<string[]> => (await readdir(join(lab.path, '..'))).sort();
const releases = async (): Promise<string[]> => (await readdir(join(lab.home, 'releases'))).sort();

beforeEach(async () => {
  lab = await makeReleaseLab();
});
afterEach(async () => {
  await lab.close();
});

describe('initializing for an atomic switch', () => {
  it('makes the path a link to a release that holds the files and nothing else', async () => {
    const commit = lab.upstream.commit({ a: '1\n', run: { run: '#!/bin/sh\n' }, ...HOSTILE });
    expect(await lab.initialize(commit)).toEqual({ ok: true, state: 'created', head: commit });
    expect(await around()).toEqual(['.app.muster', 'app']);
    expect(await readlink(lab.path)).toBe(join('.app.muster/releases', await lab.shown()));
    expect((await readdir(lab.path, { recursive: true })).sort()).toEqual(
      ['a', 'run', 'ünï', ...Object.keys(HOSTILE)].sort(),
    );
    for (const [name, content] of Object.entries(HOSTILE)) expect(await read(name)).toBe(content);
    expect(gitLine(lab.home, 'config', 'remote.origin.pushurl')).toContain('disabled');
  });

  it('takes a commit without any file', async () => {
    expect((await lab.initialize(lab.upstream.commit({}))).state).toBe('created');
    expect(await readdir(lab.path)).toEqual([]);
  });

  it('is the same when done again, and makes a link that is gone', async () => {
    const commit = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(commit);
    const shown = await lab.shown();
    expect(await lab.initialize(commit)).toEqual({ ok: true, state: 'already', head: commit });
    await rm(lab.path);
    expect(await lab.initialize(commit)).toEqual({ ok: true, state: 'already', head: commit });
    expect([await lab.shown(), await releases()]).toEqual([shown, [shown]]);
  });

  it.each([
    ['a folder', () => mkdir(lab.path)],
    ['a file', () => writeFile(lab.path, '')],
    ['a link of someone else', () => symlink('elsewhere', lab.path)],
    ['the folder of someone else beside it', () => mkdir(lab.home)],
  ])('refuses %s in its place, and touches nothing', async (_what, occupy) => {
    await occupy();
    const before = await around();
    const error = await failureOf(lab.initialize(lab.upstream.commit({ a: '1\n' })));
    expect(error.code).toBe('path_occupied');
    expect(error.message).toContain('move it away');
    expect(await around()).toEqual(before);
  });

  it('says of what another gitdeploy has left that it is a clone of Muster, and what to do', async () => {
    const commit = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(commit);
    gitLine(lab.home, 'config', 'muster.installation', 'another');
    const before = await around();
    const error = await failureOf(lab.initialize(commit));
    expect(error.code).toBe('path_occupied');
    expect(error.message).toContain(`${lab.path} with ${lab.home} is a clone that Muster made`);
    expect(error.message).toMatch(/move the clone away or remove it/);
    expect(await around()).toEqual(before);
  });

  it('refuses a missing parent, and leaves nothing behind when the pack is broken', async () => {
    const commit = lab.upstream.commit({ a: '1\n' });
    await rm(join(lab.root, 'opt'), { recursive: true });
    expect((await failureOf(lab.initialize(commit))).code).toBe('path_parent_missing');
    await mkdir(join(lab.root, 'opt'));
    const whole = lab.upstream.pack;
    Object.assign(lab.upstream, { pack: (want: string) => whole(want).subarray(0, -5) });
    expect((await failureOf(lab.initialize(commit))).code).toBe('command_failed');
    expect(await around()).toEqual([]);
  });
});

describe('an atomic switch', () => {
  it('shows exactly the new build, and says what differs', async () => {
    const one = lab.upstream.commit({ a: '1\n', gone: '1\n' });
    await lab.initialize(one);
    const before = await lab.shown();
    const two = lab.upstream.commit({ a: '2\n', 'd/new': '2\n' }, one);
    const done = await lab.deploy(two, one);
    const { name } = done.release ?? { name: '' };
    expect(done).toEqual({
      ok: true,
      state: 'switched',
      from: one,
      head: two,
      localCommit: null,
      changedFiles: 3,
      modified: false,
      kept: [],
      release: { name, previous: before, modified: [], count: 2 },
    });
    expect(await lab.shown()).toBe(name);
    expect((await readdir(lab.path)).sort()).toEqual(['a', 'd']);
    expect(gitLine(lab.home, 'log', '--format=%H')).toBe(`${two}\n${one}`);
    expect((await lab.deploy(two, two)).state).toBe('unchanged');
  });

  it('goes back to a release that is there without any object, and with a new commit of its files', async () => {
    const one = lab.upstream.commit({ a: '1\n', big: 'x'.repeat(100_000) });
    await lab.initialize(one);
    const first = await lab.shown();
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.deploy(two, one);
    const back = lab.upstream.commit({ a: '1\n', big: 'x'.repeat(100_000) }, two);
    expect(await lab.prepare(back)).toBe('ready');
    expect(await lab.switchTo(back)).toMatchObject({ state: 'switched', from: two, head: back });
    expect(await lab.shown()).toBe(first);
    expect(await releases()).toHaveLength(2);
    // What comes next finds the commit there, so that its pack is as small as ever.
    const three = lab.upstream.commit({ a: '3\n', big: 'x'.repeat(100_000) }, back);
    expect(await lab.deploy(three, back)).toMatchObject({ state: 'switched', from: back });
  });

  it('asks for objects where a commit or its files are missing', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const unseen = lab.upstream.commit({ a: '1\n', b: '2\n' }, one);
    expect(await lab.prepare(unseen)).toBe('need_objects');
    // Its files are there, but not the commit that it stands on.
    expect(await lab.prepare(lab.upstream.commit({ a: '1\n' }, unseen))).toBe('need_objects');
    const error = await failureOf(lab.switchTo(unseen));
    expect([error.code, error.retryable]).toEqual(['clone_damaged', true]);
  });

  it('shows no release that was changed by hand, but makes a new one, and leaves the changes', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    const edited = await lab.shown();
    await writeFile(file('a'), 'by hand\n');
    await writeFile(file('mine'), 'by hand\n');
    const two = lab.upstream.commit({ a: '2\n', b: '1\n' }, one);
    expect((await lab.deploy(two, one)).release).toMatchObject({
      previous: edited,
      modified: ['a'],
    });
    expect([await read('a'), await readdir(lab.path)]).toEqual(['2\n', ['a', 'b']]);
    const back = lab.upstream.commit({ a: '1\n', b: '1\n' }, two);
    const done = await lab.deploy(back, two);
    expect(done.release?.name).toBe(`${edited}-2`);
    expect([await read('a'), await readdir(lab.path)]).toEqual(['1\n', ['a', 'b']]);
    expect(await readFile(join(lab.home, 'releases', edited, 'a'), 'utf8')).toBe('by hand\n');
    // The same commit again puts right what was changed in the release that is shown.
    await rm(file('b'));
    expect(await lab.deploy(back, back)).toMatchObject({ state: 'switched', changedFiles: 0 });
    expect(await read('b')).toBe('1\n');
  });

  it('takes a file that was only touched for what it is', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    await writeFile(file('a'), '1\n');
    expect(await lab.prepare(one)).toBe('ready');
    await chmod(file('a'), 0o755);
    expect(await lab.prepare(one)).toBe('made');
  });

  it('refuses an older fence, and leaves alone what took the place of the link', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.stage(two, one);
    await lab.prepare(two);
    await lab.switchTo(two, 7);
    expect((await failureOf(lab.switchTo(one, 6))).code).toBe('fenced_off');
    await rm(lab.path);
    await mkdir(lab.path);
    expect((await failureOf(lab.switchTo(one, 8))).code).toBe('path_occupied');
    expect(await readdir(lab.path)).toEqual([]);
    await rm(lab.path, { recursive: true });
    await symlink('/tmp', lab.path);
    expect((await failureOf(lab.switchTo(one, 9))).code).toBe('path_occupied');
    await rm(lab.path);
    expect(await lab.switchTo(one, 10)).toMatchObject({ state: 'switched', from: two });
    expect(await read('a')).toBe('1\n');
  });

  it('is taken back by a rename, with what had been changed by hand', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const before = await lab.shown();
    await writeFile(file('a'), 'by hand\n');
    const two = lab.upstream.commit({ a: '2\n' }, one);
    const switched = await lab.deploy(two, one);
    expect(await lab.revert(switched, one)).toMatchObject({ state: 'reverted', head: one });
    expect([await lab.shown(), await read('a')]).toEqual([before, 'by hand\n']);
    expect(gitLine(lab.home, 'rev-parse', 'refs/muster/deployed')).toBe(one);
    expect(await lab.revert(switched, one)).toMatchObject({ state: 'unchanged' });
    // Somebody else's move is not taken back.
    const again = await lab.switchTo(two);
    const three = lab.upstream.commit({ a: '3\n' }, two);
    await lab.deploy(three, two);
    expect((await failureOf(lab.revert(again, one))).code).toBe('clone_damaged');
    expect(await read('a')).toBe('3\n');
  });
});

describe('pruning', () => {
  it('removes what was shown longest ago, never the present release nor the one before', async () => {
    let have = lab.upstream.commit({ a: '0\n' });
    await lab.initialize(have);
    const shown = [await lab.shown()];
    for (let n = 1; n <= 5; n += 1) {
      const next = lab.upstream.commit({ a: `${n}\n` }, have);
      shown.push((await lab.deploy(next, have)).release?.name ?? '');
      have = next;
    }
    expect((await lab.prune(4)).removed).toEqual(shown.slice(0, 2));
    // Someone has gone back by hand: what is shown stays, too.
    const [, , old = ''] = shown;
    await rm(lab.path);
    await symlink(join(lab.home, 'releases', old), lab.path);
    expect((await lab.prune(2)).removed).toEqual([shown[3]]);
    expect(await releases()).toEqual([shown[2], shown[4], shown[5]].sort());
    expect((await lab.prune(2)).removed).toEqual([]);
  });

  it('keeps what was changed or added by hand, and not what gitignore names', async () => {
    const one = lab.upstream.commit({ a: '1\n', '.gitignore': 'secret\n' });
    await lab.initialize(one, ['*.log']);
    await writeFile(file('a'), 'by hand\n');
    await writeFile(file('secret'), 'mine\n');
    await writeFile(file('x.log'), 'noise\n');
    const two = lab.upstream.commit({ a: '2\n' }, one);
    const three = lab.upstream.commit({ a: '3\n' }, two);
    await lab.stage(three, one);
    for (const commit of [two, three]) {
      await lab.prepare(commit, ['*.log']);
      await lab.switchTo(commit);
    }
    const { removed, kept, stuck } = await lab.prune(2);
    expect([removed.length, kept.length, stuck]).toEqual([1, 1, []]);
    const [ref = ''] = kept;
    expect(gitLine(lab.home, 'ls-tree', '-r', '--name-only', ref)).toBe('.gitignore\na\nsecret');
    expect(gitLine(lab.home, 'show', `${ref}:a`)).toBe('by hand');
    expect(gitLine(lab.home, 'rev-parse', `${ref}^`)).toBe(one);
  });
});

describe('looking at an atomic switch', () => {
  it('sees what is shown, what was changed in it, and a link that was moved', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const first = await lab.shown();
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.deploy(two, one);
    const clean = {
      state: 'clone',
      head: two,
      base: two,
      branch: 'master',
      deployed: two,
      modified: false,
    };
    expect(await lab.inspect()).toMatchObject({ ...clean, localCommits: 0 });
    await writeFile(file('untracked'), '');
    expect(await lab.inspect()).toMatchObject(clean);
    await writeFile(file('a'), 'by hand\n');
    expect(await lab.inspect()).toMatchObject({ ...clean, modified: true });
    await rm(lab.path);
    expect(await lab.inspect()).toMatchObject({ state: 'absent', installation: null });
    await symlink(join('.app.muster/releases', first), lab.path);
    expect(await lab.inspect()).toMatchObject({
      state: 'clone',
      head: one,
      base: one,
      deployed: two,
    });
    await rm(lab.path);
    await symlink('/tmp', lab.path);
    expect(await lab.inspect()).toMatchObject({ state: 'occupied', installation: null });
  });
});

describe('deinitializing an atomic switch', () => {
  it('leaves nothing where nothing was changed, and may be repeated', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    await lab.deploy(lab.upstream.commit({ 'd/b': '2\n' }, one), one);
    expect(await lab.deinitialize()).toEqual({
      ok: true,
      state: 'removed',
      left: [],
      leftCount: 0,
    });
    expect(await around()).toEqual([]);
    expect((await lab.deinitialize()).state).toBe('absent');
  });

  it('leaves and tells files that were changed or added, and what took the place of the link', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n', ...HOSTILE });
    await lab.initialize(one);
    const name = await lab.shown();
    await writeFile(file('a'), 'by hand\n');
    await writeFile(file('ünï/new\nline'), 'by hand\n');
    await rename(lab.path, `${lab.path}.aside`);
    await mkdir(lab.path);
    expect(await lab.deinitialize()).toEqual({
      ok: true,
      state: 'kept_files',
      left: [`releases/${name}/a`, `releases/${name}/ünï/new\nline`],
      leftCount: 2,
    });
    expect(await around()).toEqual(['.app.muster', 'app', 'app.aside']);
    expect(await readdir(lab.home)).toEqual(['releases']);
  });

  it('writes out, for its owner alone, what pruning has kept of changes, and tells it', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n', gone: '1\n' });
    await lab.initialize(one);
    await writeFile(file('a'), 'by hand\n');
    await writeFile(file('new\nline'), 'by hand\n');
    await rm(file('gone'));
    const two = lab.upstream.commit({ a: '2\n' }, one);
    const three = lab.upstream.commit({ a: '3\n' }, two);
    await lab.deploy(two, one);
    await lab.deploy(three, two);
    const [ref = ''] = (await lab.prune(2)).kept;
    const folder = `kept/${ref.replace('refs/muster/kept/', '').slice(0, 12)}`;
    expect(await lab.deinitialize()).toEqual({
      ok: true,
      state: 'kept_files',
      left: [`${folder}/a`, `${folder}/new\nline`],
      leftCount: 2,
    });
    expect(await readdir(lab.home)).toEqual(['kept']);
    expect((await stat(join(lab.home, 'kept'))).mode & 0o777).toBe(0o700);
    expect((await readdir(join(lab.home, folder))).sort()).toEqual(['a', 'new\nline']);
    expect(await readFile(join(lab.home, folder, 'a'), 'utf8')).toBe('by hand\n');
    expect((await lab.deinitialize()).state).toBe('absent');
    expect(await readdir(lab.home)).toEqual(['kept']);
  });

  it('touches nothing while what pruning has kept cannot be written out', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    await writeFile(file('a'), 'by hand\n');
    const two = lab.upstream.commit({ a: '2\n' }, one);
    const three = lab.upstream.commit({ a: '3\n' }, two);
    await lab.deploy(two, one);
    await lab.deploy(three, two);
    await lab.prune(2);
    await writeFile(join(lab.home, 'kept'), 'in the way\n');
    const error = await failureOf(lab.deinitialize());
    expect(error.code).toBe('command_failed');
    expect(error.message).toContain(`cannot be written to ${lab.home}/kept; make room`);
    expect(await read('a')).toBe('3\n');
    await rm(join(lab.home, 'kept'));
    expect(await lab.deinitialize()).toMatchObject({ state: 'kept_files', leftCount: 1 });
  });
});

describe.each((await availableShells()).map((argv) => ({ shell: argv.join(' '), argv })))(
  'under $shell',
  ({ argv }) => {
    it('every script on releases does its work', async () => {
      const own = await makeReleaseLab(argv);
      try {
        const one = own.upstream.commit({ a: '1\n', ...HOSTILE });
        await own.initialize(one, ['a b']);
        const two = own.upstream.commit({ a: '2\n' }, one);
        const switched = await own.deploy(two, one);
        expect(await own.revert(switched, one)).toMatchObject({ state: 'reverted' });
        await own.switchTo(two);
        await writeFile(join(own.path, 'a'), 'by hand\n');
        const three = own.upstream.commit({ a: '3\n' }, two);
        expect((await own.deploy(three, two)).release?.modified).toEqual(['a']);
        expect((await own.prune(2)).removed).toHaveLength(1);
        expect(await own.inspect()).toMatchObject({ state: 'clone', head: three, modified: false });
        expect(await own.deinitialize()).toMatchObject({ state: 'kept_files', leftCount: 1 });
      } finally {
        await own.close();
      }
    });
  },
);
