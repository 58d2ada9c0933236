import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CloneLab, failureOf, gitLine, HOSTILE, makeCloneLab, snapshot } from './clone-lab.ts';

let lab: CloneLab;
const file = (name: string): string => join(lab.path, name);
const read = async (name: string): Promise<string> => await readFile(file(name), 'utf8');

/** A clone at that commit that one switch has left, as the short way asks for it. */
const settle = async (commit: string, gitignore: string[] = []): Promise<void> => {
  await lab.initialize(commit, { gitignore });
  await lab.switchTo(commit, { gitignore });
};

beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

describe('switch', () => {
  it('fast-forwards a clone without changes, and does nothing the second time', async () => {
    const one = lab.upstream.commit({ a: '1\n', gone: 'x\n', 'd/e/f': '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: { run: '2\n' }, ...HOSTILE }, one);
    expect(await lab.deploy(two, one)).toEqual({
      ok: true,
      state: 'switched',
      from: one,
      head: two,
      localCommit: null,
      changedFiles: 10,
      modified: false,
      kept: [],
    });
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
    expect((await stat(file('a'))).mode & 0o111).toBe(0o111);
    for (const [name, content] of Object.entries(HOSTILE)) expect(await read(name)).toBe(content);
    await expect(lstat(file('d'))).rejects.toThrow('ENOENT');
    const before = snapshot(lab.path);
    const again = { state: 'unchanged', from: two, head: two, changedFiles: 0 };
    expect(await lab.switchTo(two)).toMatchObject({ ...again, modified: false });
    expect(snapshot(lab.path)).toBe(before);
    await writeFile(file('a'), 'by hand\n');
    expect(await lab.switchTo(two)).toMatchObject({ ...again, modified: true });
  });

  it('takes what Muster put there for no change made there, also when its history was lost elsewhere', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    const lost = lab.upstream.commit({ a: 'lost\n', b: '1\n' }, one);
    await lab.deploy(lost, one);
    // As after a restored backup: the next commit comes after `one` and does not know of `lost`.
    const two = lab.upstream.commit({ a: '1\n', b: '2\n' }, one);
    expect(await lab.deploy(two, one)).toMatchObject({
      state: 'switched',
      head: two,
      localCommit: null,
      kept: [`refs/muster/kept/${lost}`],
    });
    expect([await read('a'), await read('b')]).toEqual(['1\n', '2\n']);
    // And back to a commit that the clone has already.
    expect(await lab.switchTo(one)).toMatchObject({ state: 'switched', head: one });
    expect([await read('a'), await read('b')]).toEqual(['1\n', '1\n']);
  });

  it('commits what was changed by hand and merges it', async () => {
    const lines = Array.from({ length: 30 }, (_, n) => `line ${n}\n`);
    const one = lab.upstream.commit({ a: lines.join(''), b: '1\n', c: '1\n', 'del ete': 'x\n' });
    await lab.initialize(one);
    await writeFile(file('a'), lines.with(0, 'by hand\n').join(''));
    await chmod(file('c'), 0o755);
    await rm(file('del ete'));
    await writeFile(file('note.txt'), 'untracked\n');
    const two = lab.upstream.commit(
      { a: lines.with(29, 'by build\n').join(''), b: '2\n', c: '1\n', 'del ete': 'x\n' },
      one,
    );
    const done = await lab.deploy(two, one);
    expect(done).toMatchObject({ state: 'merged', modified: true });
    expect(await read('a')).toBe(lines.with(0, 'by hand\n').with(29, 'by build\n').join(''));
    expect(await read('b')).toBe('2\n');
    expect((await stat(file('c'))).mode & 0o111).toBe(0o111);
    expect(await read('note.txt')).toBe('untracked\n');
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('?? note.txt');
    expect(gitLine(lab.path, 'rev-list', '--parents', '-1', 'HEAD')).toBe(
      `${done.head} ${done.localCommit} ${two}`,
    );
    expect(gitLine(lab.path, 'log', '-1', '--format=%an', done.localCommit ?? '')).toBe('Muster');
    await expect(lstat(file('del ete'))).rejects.toThrow('ENOENT');
  });

  it.each([
    ['ours', 'by hand\n'],
    ['theirs', 'by build\n'],
  ] as const)('lets %s win where both changed the same lines', async (favor, expected) => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    await writeFile(file('a'), 'by hand\n');
    const two = lab.upstream.commit({ a: 'by build\n' }, one);
    expect((await lab.deploy(two, one, { favor })).state).toBe('merged');
    expect(await read('a')).toBe(expected);
  });

  it.each([
    [true, 'by hand\n'],
    [false, '  a\n'],
  ])(
    'does not let white space alone win when told to ignore it: %s',
    async (ignoreWhitespace, expected) => {
      const one = lab.upstream.commit({ a: 'a\n' });
      await lab.initialize(one);
      await writeFile(file('a'), 'by hand\n');
      const two = lab.upstream.commit({ a: '  a\n' }, one);
      await lab.deploy(two, one, { ignoreWhitespace, favor: 'theirs' });
      expect(await read('a')).toBe(expected);
    },
  );

  it('goes on merging in later deployments', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    await writeFile(file('a'), 'by hand\n');
    const two = lab.upstream.commit({ a: '1\n', b: '2\n' }, one);
    await lab.deploy(two, one);
    const three = lab.upstream.commit({ a: '1\n', b: '3\n' }, two);
    expect(await lab.deploy(three, two)).toMatchObject({ state: 'merged', localCommit: null });
    expect([await read('a'), await read('b')]).toEqual(['by hand\n', '3\n']);
  });

  it.each([
    ['ours', 'mine\n'],
    ['theirs', 'build\n'],
  ] as const)(
    'keeps untracked and ignored files that the build brings too, and lets %s win',
    async (favor, expected) => {
      const one = lab.upstream.commit({ a: '1\n' });
      await lab.initialize(one, { gitignore: ['*.log'] });
      await writeFile(file('new.txt'), 'mine\n');
      await writeFile(file('x.log'), 'mine\n');
      await writeFile(file('same'), 'same\n');
      const two = lab.upstream.commit(
        { a: '1\n', 'new.txt': 'build\n', 'x.log': 'build\n', same: 'same\n' },
        one,
      );
      const done = await lab.deploy(two, one, { favor, gitignore: ['*.log'] });
      expect([await read('new.txt'), await read('x.log'), await read('same')]).toEqual([
        expected,
        expected,
        'same\n',
      ]);
      expect(gitLine(lab.path, 'show', `${done.localCommit}:new.txt`)).toBe('mine');
      expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
    },
  );

  it('needs no local commit for an untracked file that is just as in the build', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    await writeFile(file('same'), 'same\n');
    const two = lab.upstream.commit({ a: '1\n', same: 'same\n' }, one);
    expect(await lab.deploy(two, one)).toMatchObject({
      state: 'switched',
      localCommit: null,
      head: two,
    });
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
  });

  it('leaves everything as it was when a merge cannot be resolved, and names the files', async () => {
    const one = lab.upstream.commit({ 'a "b"\nü': '1\n', b: '1\n', c: '1\n' });
    await lab.initialize(one, { gitignore: ['ig'] });
    await writeFile(file('a "b"\nü'), 'by hand\n');
    await writeFile(file('c'), 'staged\n');
    gitLine(lab.path, 'add', 'c');
    await writeFile(file('c'), 'and changed again\n');
    await writeFile(file('new'), 'untracked\n');
    await writeFile(file('ig'), 'ignored\n');
    const two = lab.upstream.commit({ b: '2\n', c: '1\n', new: 'build\n', ig: 'build\n' }, one);
    await lab.stage(two, one);
    const before = snapshot(lab.path);
    const error = await failureOf(lab.switchTo(two, { gitignore: ['ig'] }));
    expect(error.code).toBe('merge_failed');
    expect(error.details).toEqual({ files: ['a "b"\nü'] });
    expect(snapshot(lab.path)).toBe(before);
    expect((await readdir(file('.git'))).filter((name) => name.startsWith('muster'))).toEqual([
      'muster-fence',
    ]);
    expect((await failureOf(lab.switchTo(two, { gitignore: ['ig'] }))).code).toBe('merge_failed');
    expect(snapshot(lab.path)).toBe(before);
  });

  it.each([
    ['a folder with untracked files where the build has a file', 'x/mine', { x: 'file\n' }],
    ['an untracked file where the build has a folder', 'x', { 'x/file': '1\n' }],
  ])('refuses %s and loses nothing', async (_what, mine, brings) => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    await mkdir(join(file(mine), '..'), { recursive: true });
    await writeFile(file(mine), 'mine\n');
    const two = lab.upstream.commit({ a: '2\n', ...brings }, one);
    await lab.stage(two, one);
    const before = snapshot(lab.path);
    const error = await failureOf(lab.switchTo(two));
    expect(error.code).toBe('merge_failed');
    expect(error.details).toEqual({ files: [expect.stringMatching(/^x/)] });
    expect(snapshot(lab.path)).toBe(before);
  });

  it('delivers bytes as they are, whatever the build’s .gitattributes or the clone’s configuration say', async () => {
    const bytes = 'one\r\ntwo\n$Id$\n';
    const attributes = { '.gitattributes': '* text=auto eol=crlf ident\n' };
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    for (const [key, value] of [
      ['core.autocrlf', 'true'],
      ['commit.gpgSign', 'true'],
      ['merge.ff', 'only'],
      ['core.hooksPath', lab.path],
    ] as const) {
      gitLine(lab.path, 'config', key, value);
    }
    for (const hook of ['post-merge', 'post-checkout', 'reference-transaction']) {
      await writeFile(file(hook), '#!/bin/sh\ntouch hooked\n', { mode: 0o755 });
    }
    const two = lab.upstream.commit({ a: '1\n', ...attributes, crlf: bytes }, one);
    await lab.deploy(two, one);
    expect(await read('crlf')).toBe(bytes);
    await writeFile(file('a'), 'hand\n');
    const three = lab.upstream.commit({ a: '1\n', ...attributes, crlf: `${bytes}more\n` }, two);
    expect((await lab.deploy(three, two)).state).toBe('merged');
    expect(await read('crlf')).toBe(`${bytes}more\n`);
    await expect(lstat(file('hooked'))).rejects.toThrow('ENOENT');
  });

  it('writes the index once, and not again, where files were written as late as it', async () => {
    const one = lab.upstream.commit({ a: '1\n', 'd/b': '1\n' });
    await settle(one);
    const writtenAt = new Date(Date.now() - 100_000);
    for (const name of ['a', 'd/b']) await utimes(file(name), writtenAt, writtenAt);
    gitLine(lab.path, 'update-index', '--refresh');
    // Git takes such files for ones that may have been changed after the index was written, and reads them.
    await utimes(file('.git/index'), writtenAt, writtenAt);
    const indexTime = async (): Promise<bigint> =>
      (await stat(file('.git/index'), { bigint: true })).mtimeNs;
    const before = await indexTime();
    expect((await lab.switchTo(one)).state).toBe('unchanged');
    const after = await indexTime();
    expect(after).toBeGreaterThan(before);
    expect((await lab.switchTo(one)).state).toBe('unchanged');
    expect(await indexTime()).toBe(after);
  });
});

describe('a switch that is told what its commit changes', () => {
  // No commit here changes as many: an answer that says so has it from what was told, and any other has counted.
  const TOLD = 77;
  const answerTo = { ok: true, state: 'switched', localCommit: null, modified: false, kept: [] };

  it('answers as without', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n', gone: '1\n' });
    await settle(one);
    const { 'new\nline': _, 'tab\tand\\backslash': __, ...names } = HOSTILE;
    const two = lab.upstream.commit({ a: '2\n', b: '1\n', 'd/e': '1\n', ...names }, one);
    await lab.stage(two, one);
    const added = ['d/e', ...Object.keys(names)];
    const changes = { parent: one, changedFiles: added.length + 2, added };
    const answer = { ...answerTo, from: one, head: two, changedFiles: added.length + 2 };
    expect(await lab.switchTo(two, { changes })).toEqual(answer);
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
    for (const [name, content] of Object.entries(names)) expect(await read(name)).toBe(content);
    await expect(lstat(file('gone'))).rejects.toThrow('ENOENT');
    // Without: the same way again.
    await lab.switchTo(one);
    expect(await lab.switchTo(two)).toEqual(answer);
  });

  it('believes it, and does not compare the commits itself', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await settle(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.stage(two, one);
    const changes = { parent: one, changedFiles: TOLD, added: [] };
    const done = await lab.switchTo(two, { changes });
    expect(done).toEqual({ ...answerTo, from: one, head: two, changedFiles: TOLD });
    expect(await read('a')).toBe('2\n');
  });

  it.each([
    ['with it', true],
    ['without', false],
  ])('keeps what is untracked or ignored where an added file is to be: %s', async (_, isTold) => {
    const one = lab.upstream.commit({ a: '1\n' });
    const gitignore = ['*.log'];
    await settle(one, gitignore);
    await mkdir(file('d'));
    for (const name of ['d/new "1"', 'x.log']) await writeFile(file(name), 'mine\n');
    const names = ['d/new "1"', 'x.log', 'other'];
    const brings = Object.fromEntries(names.map((name) => [name, 'build\n']));
    const two = lab.upstream.commit({ a: '2\n', ...brings }, one);
    await lab.stage(two, one);
    const changes = { parent: one, changedFiles: 4, added: names };
    const done = await lab.switchTo(two, isTold ? { changes, gitignore } : { gitignore });
    expect(done).toMatchObject({ state: 'merged', from: one, changedFiles: 4, modified: true });
    expect(done.localCommit).toMatch(/^[0-9a-f]{40}$/);
    const seen = await Promise.all(['d/new "1"', 'x.log', 'a', 'other'].map(read));
    expect(seen).toEqual(['mine\n', 'mine\n', '2\n', 'build\n']);
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
  });

  it.each([
    ['a folder with untracked files where the build has a file', 'x/mine', { x: 'file\n' }],
    ['an untracked file where the build has a folder', 'x', { 'x/file': '1\n' }],
  ])('refuses %s and loses nothing', async (_what, mine, brings) => {
    const one = lab.upstream.commit({ a: '1\n' });
    await settle(one);
    await mkdir(join(file(mine), '..'), { recursive: true });
    await writeFile(file(mine), 'mine\n');
    const two = lab.upstream.commit({ a: '2\n', ...brings }, one);
    await lab.stage(two, one);
    const before = snapshot(lab.path);
    const changes = { parent: one, changedFiles: 2, added: Object.keys(brings) };
    const error = await failureOf(lab.switchTo(two, { changes }));
    expect(error.code).toBe('merge_failed');
    expect(error.details).toEqual({ files: [expect.stringMatching(/^x/)] });
    expect(snapshot(lab.path)).toBe(before);
  });

  it('loses no file that came between its look and the writing', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await settle(one);
    await writeFile(file('new'), 'mine\n');
    const two = lab.upstream.commit({ a: '2\n', new: 'build\n' }, one);
    await lab.stage(two, one);
    // As if there had been nothing when it looked.
    const changes = { parent: one, changedFiles: TOLD, added: [] };
    const { localCommit } = await lab.switchTo(two, { changes });
    expect(await read('new')).toBe('mine\n');
    expect(gitLine(lab.path, 'show', `${localCommit}:new`)).toBe('mine');
    expect(await read('a')).toBe('2\n');
  });

  it.each([
    ['keeps what somebody else has put', 'mine\n', 'mine\n'],
    ['writes anew what git had half written', 'buil', 'build\n'],
  ])('after a switch that was killed %s where a new file is to be', async (_, there, after) => {
    const one = lab.upstream.commit({ a: '1\n' });
    await settle(one);
    const two = lab.upstream.commit({ a: '2\n', new: 'build\n' }, one);
    await lab.stage(two, one);
    await writeFile(file('.git/muster-switch'), `${one} ${two} master ${one}\n`);
    await writeFile(file('new'), there);
    await lab.switchTo(two);
    expect(await read('new')).toBe(after);
    expect(await read('a')).toBe('2\n');
  });

  it('does not use it where another commit is checked out than the one that it is about', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await settle(one);
    const two = lab.upstream.commit({ a: '2\n', b: '1\n' }, one);
    const three = lab.upstream.commit({ a: '2\n', b: '2\n', c: '1\n' }, two);
    await lab.stage(three, one);
    const changes = { parent: two, changedFiles: TOLD, added: ['c'] };
    const done = await lab.switchTo(three, { changes });
    expect(done).toEqual({ ...answerTo, from: one, head: three, changedFiles: 3 });
    expect([await read('a'), await read('b'), await read('c')]).toEqual(['2\n', '2\n', '1\n']);
  });

  it('does not use it where files were changed by hand, and merges them', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await settle(one);
    await writeFile(file('a'), 'by hand\n');
    const two = lab.upstream.commit({ a: '1\n', b: '2\n' }, one);
    await lab.stage(two, one);
    const changes = { parent: one, changedFiles: TOLD, added: [] };
    expect(await lab.switchTo(two, { changes })).toMatchObject({
      state: 'merged',
      from: one,
      changedFiles: 2,
      modified: true,
    });
    expect([await read('a'), await read('b')]).toEqual(['by hand\n', '2\n']);
  });

  /** Switches to a commit that adds these files and is told of them; looks what was counted, and that they are there. */
  const bring = async (
    added: readonly string[],
    { countedAs }: { readonly countedAs: number },
  ): Promise<void> => {
    const one = lab.upstream.commit({ a: '1\n' });
    await settle(one);
    const brings = Object.fromEntries(added.map((name) => [name, 'build\n']));
    const two = lab.upstream.commit({ a: '1\n', ...brings }, one);
    await lab.stage(two, one);
    const changes = { parent: one, changedFiles: TOLD, added };
    const done = await lab.switchTo(two, { changes });
    expect(done).toEqual({ ...answerTo, from: one, head: two, changedFiles: countedAs });
    expect(await Promise.all(added.map(read))).toEqual(added.map(() => 'build\n'));
  };

  it.each([
    ['are more than fit', Array.from({ length: 280 }, (_, n) => `a name that is long enough ${n}`)],
    ['have a line end', ['new\nline', 'b']],
  ])('lists what is added itself where the names %s', async (_, added) => {
    await bring(added, { countedAs: added.length });
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
  });

  it('uses as many names as fit, of any script', async () => {
    // 8192 characters with the line ends between them, most of them of three bytes.
    const added = Array.from({ length: 128 }, (_, n) => `${n}`.padStart(n === 0 ? 64 : 63, '日'));
    expect(added.join('\n')).toHaveLength(8192);
    await bring(added, { countedAs: TOLD });
  });
});
