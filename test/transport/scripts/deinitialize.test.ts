import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type CloneLab,
  failureOf,
  gitLine,
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

  it('writes out, for their owner alone, changes that deployments have kept as commits', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n', 'd/c': '1\n' });
    await lab.initialize(one);
    // A commit made by hand that is then moved away from: the next switch keeps it.
    await writeFile(file('d/c'), 'by hand\n');
    gitLine(lab.path, 'commit', '-q', '-a', '-m', 'first');
    await writeFile(file('a'), 'by hand\n');
    gitLine(lab.path, 'commit', '-q', '-a', '-m', 'second');
    const tip = gitLine(lab.path, 'rev-parse', 'HEAD');
    gitLine(lab.path, 'checkout', '-q', '--detach', one);
    const two = lab.upstream.commit({ a: '2\n', b: '2\n', 'd/c': '1\n' }, one);
    const switched = await lab.deploy(two, one);
    expect(gitLine(lab.path, 'for-each-ref', 'refs/muster/kept')).toContain(tip);
    expect(switched.kept).toEqual([`refs/muster/kept/${tip}`]);
    const folder = `.muster-kept/${tip.slice(0, 12)}`;
    expect(await lab.deinitialize()).toEqual({
      ok: true,
      state: 'kept_files',
      left: [`${folder}/a`, `${folder}/d/c`],
      leftCount: 2,
    });
    expect(await readdir(lab.path)).toEqual(['.muster-kept']);
    expect((await stat(file('.muster-kept'))).mode & 0o777).toBe(0o700);
    expect(await readFile(file(`${folder}/d/c`), 'utf8')).toBe('by hand\n');
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
