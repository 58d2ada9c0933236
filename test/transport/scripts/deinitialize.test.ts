import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type CloneLab,
  failureOf,
  HOSTILE,
  INSTALLATION,
  makeCloneLab,
  snapshot,
} from './clone-lab.ts';

let lab: CloneLab;
const file = (name: string): string => join(lab.path, name);

beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

describe('deinitialize', () => {
  it('removes what Muster delivered and nothing else', async () => {
    await lab.initialize(
      lab.upstream.commit({ a: '1\n', 'd/b': '1\n', 'e/f/g': '1\n', ...HOSTILE }),
    );
    await writeFile(file('a'), 'changed\n');
    await writeFile(file('d/own\n"file"'), 'mine\n');
    await writeFile(join(lab.root, 'opt/neighbor'), 'x');
    const done = await lab.deinitialize();
    expect(done.state).toBe('kept_files');
    expect(done.left.toSorted()).toEqual(['a', 'd/own\n"file"']);
    expect(done.leftCount).toBe(2);
    expect((await readdir(lab.path, { recursive: true })).sort()).toEqual([
      'a',
      'd',
      'd/own\n"file"',
    ]);
    expect(await readdir(join(lab.root, 'opt'))).toEqual(['app', 'neighbor']);
    expect((await lab.deinitialize()).state).toBe('absent');
    expect(await readFile(file('a'), 'utf8')).toBe('changed\n');
  });

  it('leaves no trace of a clone that nobody changed, and does not mind doing it again', async () => {
    await lab.initialize(lab.upstream.commit({ a: '1\n', l: { link: '/etc' } }));
    expect(await lab.deinitialize()).toEqual({
      ok: true,
      state: 'removed',
      left: [],
      leftCount: 0,
    });
    expect(await readdir(join(lab.root, 'opt'))).toEqual([]);
    expect((await lab.deinitialize()).state).toBe('absent');
  });

  it('keeps a folder that was there before Muster', async () => {
    await mkdir(lab.path);
    await lab.initialize(lab.upstream.commit({ a: '1\n' }));
    expect((await lab.deinitialize()).state).toBe('removed');
    expect(await readdir(lab.path)).toEqual([]);
  });

  it('does not touch the clone of someone else', async () => {
    await lab.initialize(lab.upstream.commit({ a: '1\n' }), { installationId: 'another' });
    const before = snapshot(lab.path);
    expect((await failureOf(lab.deinitialize(INSTALLATION))).code).toBe('path_occupied');
    expect(snapshot(lab.path)).toBe(before);
  });

  it('does not follow a folder that was replaced by a link to the outside', async () => {
    await lab.initialize(lab.upstream.commit({ 'd/b': '1\n' }));
    await mkdir(join(lab.root, 'outside'));
    await writeFile(join(lab.root, 'outside/b'), '1\n');
    await rm(file('d'), { recursive: true });
    await symlink(join(lab.root, 'outside'), file('d'));
    expect(await lab.deinitialize()).toMatchObject({ left: ['d'] });
    expect(await readdir(join(lab.root, 'outside'))).toEqual(['b']);
  });
});
