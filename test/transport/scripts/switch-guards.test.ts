import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AppError } from '../../../src/domain/errors.ts';
import { type CloneLab, failureOf, gitLine, makeCloneLab, startSleeping } from './clone-lab.ts';

let lab: CloneLab;
const file = (name: string): string => join(lab.path, name);
const read = async (name: string): Promise<string> => await readFile(file(name), 'utf8');

beforeEach(async () => {
  lab = await makeCloneLab();
});
afterEach(async () => {
  await lab.close();
});

describe('switch, where others were before', () => {
  it('refuses an older fence for good', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.stage(two, one);
    await lab.switchTo(one, { fence: 7 });
    const error = await failureOf(lab.switchTo(two, { fence: 6 }));
    expect(error.code).toBe('fenced_off');
    expect(error.details).toEqual({ fence: 6, last: 7 });
    expect(await read('a')).toBe('1\n');
    expect((await lab.switchTo(two, { fence: 7 })).state).toBe('switched');
  });

  it('stays out while the lock’s holder lives and takes over when it has ended', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.stage(two, one);
    const other = startSleeping();
    try {
      const stat = await readFile(`/proc/${other.pid}/stat`, 'utf8');
      const started = stat.replace(/.*\) /s, '').split(' ')[19];
      await mkdir(file('.git/muster.lock'));
      await writeFile(file('.git/muster.lock/owner'), `3 ${other.pid} ${started} deployment 9\n`);
      const error = await failureOf(lab.switchTo(two, { fence: 4 }));
      expect(error.code).toBe('path_busy');
      expect(error.retryable).toBe(true);
      expect(error.details).toEqual({ holder: 'deployment 9', fence: 3, pid: other.pid });
      expect(await readdir(file('.git/muster.lock'))).toEqual(['owner']);
    } finally {
      other.end();
    }
    const tryAgain = async (): Promise<string> =>
      await lab.switchTo(two, { fence: 4 }).then(
        (done) => done.state,
        (busy: AppError) => busy.code,
      );
    await expect.poll(tryAgain).toBe('switched');
    expect(await readdir(file('.git'))).not.toContain('muster.lock');
  });

  it('removes the lock files of a git that was killed', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    for (const name of ['index.lock', 'HEAD.lock', 'refs/heads/master.lock']) {
      await writeFile(file(`.git/${name}`), '');
    }
    expect((await lab.deploy(two, one)).state).toBe('switched');
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
  });

  it('keeps a merge that people left half-way under a ref, and deploys', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    gitLine(lab.path, 'checkout', '-q', '-b', 'theirs');
    await writeFile(file('a'), 'theirs\n');
    gitLine(lab.path, 'commit', '-q', '-a', '-m', 'theirs');
    gitLine(lab.path, 'checkout', '-q', 'master');
    await writeFile(file('a'), 'mine\n');
    gitLine(lab.path, 'commit', '-q', '-a', '-m', 'mine');
    expect(() => gitLine(lab.path, 'merge', 'theirs')).toThrow();
    await writeFile(file('a'), 'half resolved\n');
    const two = lab.upstream.commit({ a: '1\n', b: '2\n' }, one);
    const done = await lab.deploy(two, one);
    expect(done.state).toBe('merged');
    expect([await read('a'), await read('b')]).toEqual(['mine\n', '2\n']);
    expect(done.kept).toHaveLength(1);
    expect(gitLine(lab.path, 'show', `${done.kept[0]}:a`)).toBe('half resolved');
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
  });

  it('ends on the branch when HEAD was moved by hand, with what was checked out, and keeps the rest', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    await writeFile(file('a'), 'committed by hand\n');
    gitLine(lab.path, 'commit', '-q', '-a', '-m', 'by hand');
    const byHand = gitLine(lab.path, 'rev-parse', 'HEAD');
    gitLine(lab.path, 'checkout', '-q', one);
    await writeFile(file('b'), 'edited\n');
    const two = lab.upstream.commit({ a: '1\n', b: '1\n', c: '2\n' }, one);
    const done = await lab.deploy(two, one);
    expect(gitLine(lab.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/master');
    expect([await read('a'), await read('b'), await read('c')]).toEqual(['1\n', 'edited\n', '2\n']);
    expect(done.kept).toEqual([`refs/muster/kept/${byHand}`]);
    expect(gitLine(lab.path, 'show', `${byHand}:a`)).toBe('committed by hand');
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe('');
  });

  it('goes forward again when the branch was reset to an older commit', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.deploy(two, one);
    gitLine(lab.path, 'reset', '-q', '--hard', one);
    expect(await lab.switchTo(two)).toMatchObject({ state: 'switched', from: one, head: two });
    expect(await read('a')).toBe('2\n');
  });

  it('comes back to the branch from another that already holds the target, uncommitted changes and all', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    gitLine(lab.path, 'checkout', '-q', '-b', 'side');
    await writeFile(file('a'), 'edited\n');
    expect(await lab.switchTo(one)).toMatchObject({ head: one, localCommit: null });
    expect(gitLine(lab.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/master');
    expect(gitLine(lab.path, 'status', '--porcelain')).toBe(' M a');
  });

  it('asks for the commit to be staged first', async () => {
    await lab.initialize(lab.upstream.commit({ a: '1\n' }));
    const error = await failureOf(lab.switchTo('f'.repeat(40)));
    expect(error.code).toBe('clone_damaged');
    expect(error.message).toMatch(/staged/);
  });
});
