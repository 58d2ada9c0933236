import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noise } from '../../depot/fixtures.ts';
import { makeTemporaryDirectory } from '../../support/temporary-directory.ts';
import {
  type CloneLab,
  cutsOf,
  failureOf,
  forever,
  gitLine,
  linkPrograms,
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

describe('stage', () => {
  it('brings a thin pack without touching a file, and says so when it is there already', async () => {
    const one = lab.upstream.commit({ a: 'x\n'.repeat(1000), b: '1\n' });
    await lab.initialize(one);
    const before = snapshot(lab.path);
    const two = lab.upstream.commit({ a: `${'x\n'.repeat(1000)}y\n`, b: '1\n' }, one);
    expect(await lab.stage(two, one)).toEqual({ ok: true, state: 'staged' });
    expect(gitLine(lab.path, 'rev-parse', 'origin/master')).toBe(two);
    expect(snapshot(lab.path)).toBe(before);
    expect(await lab.stage(two, one, forever)).toEqual({ ok: true, state: 'present' });
  });

  it('asks for a full pack when it has not got the base, without reading', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const base = lab.upstream.commit({ a: '2\n' }, one);
    const two = lab.upstream.commit({ a: '3\n' }, base);
    expect(await lab.stage(two, base, forever)).toEqual({ ok: true, state: 'need_full' });
    expect(await lab.stage(two, null)).toEqual({ ok: true, state: 'staged' });
  });

  it('leaves nothing of a broken pack', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    const before = await readdir(file('.git'), { recursive: true });
    const broken = lab.upstream.pack(two, one).subarray(0, -3);
    const error = await failureOf(lab.stage(two, one, () => Readable.from([broken])));
    expect(error.code).toBe('command_failed');
    expect(error.retryable).toBe(true);
    expect(await readdir(file('.git'), { recursive: true })).toEqual(before);
    expect((await lab.stage(two, one)).state).toBe('staged');
  });

  it('refuses a pack that does not bring all that its commit needs', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const hidden = lab.upstream.commit({ b: '2\n' }, one);
    const two = lab.upstream.commit({ b: '2\n', c: '3\n' }, hidden);
    const incomplete = lab.upstream.pack(two, hidden);
    const error = await failureOf(lab.stage(two, one, () => Readable.from([incomplete])));
    expect(error.code).toBe('clone_damaged');
    expect(gitLine(lab.path, 'rev-parse', 'origin/master')).toBe(one);
    expect((await lab.stage(two, null)).state).toBe('staged');
  });

  it('makes few packs of many, and lets nothing go', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const blobs = await packBlobs(60);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    expect((await lab.stageIndexed(two, one)).state).toBe('staged');
    expect((await packs()).length).toBeLessThan(10);
    expect(gitLine(lab.path, 'fsck', '--strict', '--no-dangling')).toBe('');
    // No ref leads to them, but somebody may have put them there.
    for (const blob of blobs) expect(gitLine(lab.path, 'cat-file', '-t', blob)).toBe('blob');
    expect((await lab.switchTo(two)).state).toBe('switched');
  });

  it('leaves few packs as they are', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    await packBlobs(20);
    const before = await packs();
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.stageIndexed(two, one);
    expect(await packs()).toEqual(expect.arrayContaining(before));
    expect(await packs()).toHaveLength(before.length + 1);
  });

  it('removes the lock of a git that was killed while it named what was staged', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await writeFile(file('.git/refs/remotes/origin/master.lock'), '');
    expect((await lab.stage(two, one)).state).toBe('staged');
    expect(gitLine(lab.path, 'rev-parse', 'origin/master')).toBe(two);
  });

  it('finds no clone where there is none or another’s', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    expect((await failureOf(lab.stage(one, null))).code).toBe('clone_missing');
    await lab.initialize(one, { installationId: 'another' });
    expect((await failureOf(lab.stage(one, null))).code).toBe('clone_missing');
  });
});

describe('stage of a pack with its index', () => {
  const objects = (): Promise<string[]> => readdir(file('.git'), { recursive: true });

  it('brings it without touching a file, and it can be switched to', async () => {
    const one = lab.upstream.commit({ a: 'x\n'.repeat(1000), b: '1\n' });
    await lab.initialize(one);
    const before = snapshot(lab.path);
    const two = lab.upstream.commit({ a: `${'x\n'.repeat(1000)}y\n`, b: '1\n' }, one);
    expect(await lab.stageIndexed(two, one)).toEqual({ ok: true, state: 'staged' });
    expect(gitLine(lab.path, 'rev-parse', 'origin/master')).toBe(two);
    expect(snapshot(lab.path)).toBe(before);
    expect(await lab.stageIndexed(two, one, forever)).toEqual({ ok: true, state: 'present' });
    expect(await lab.switchTo(two)).toMatchObject({ state: 'switched', head: two });
    expect(gitLine(lab.path, 'fsck', '--strict')).toBe('');
    expect(await readFile(file('a'), 'utf8')).toBe(`${'x\n'.repeat(1000)}y\n`);
    expect((await objects()).filter((name) => name.includes('muster-incoming'))).toEqual([]);
  });

  it('goes back to a commit that the clone has had, whose pack has nothing in it', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.stageIndexed(two, one);
    await lab.switchTo(two);
    expect(await lab.stageIndexed(one, two)).toEqual({ ok: true, state: 'staged' });
    expect(await lab.switchTo(one)).toMatchObject({ state: 'switched', head: one });
    expect(gitLine(lab.path, 'fsck', '--strict')).toBe('');
  });

  it.each([
    'nothing',
    'half of the pack',
    'the pack alone',
    'the pack and the name of its index',
    'the pack and half of its index',
  ] as const)('leaves nothing if no more arrives than %s', async (part) => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: noise(5000), b: noise(5000, 2) }, one);
    const before = await objects();
    const arriving = cutsOf(lab.upstream.indexedPack(two, one))[part];
    const error = await failureOf(lab.stageIndexed(two, one, () => Readable.from(arriving)));
    expect([error.code, error.retryable]).toEqual(['command_failed', true]);
    expect(await objects()).toEqual(before);
    expect(gitLine(lab.path, 'rev-parse', 'origin/master')).toBe(one);
    expect((await lab.stageIndexed(two, one)).state).toBe('staged');
  });

  it('asks for a thin pack if what the pack adds to is not what was deployed last, without reading', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n' }, one);
    await lab.stage(two, one);
    const three = lab.upstream.commit({ a: '3\n' }, two);
    const before = await objects();
    expect(await lab.stageIndexed(three, two, forever)).toEqual({ ok: true, state: 'need_thin' });
    expect(await objects()).toEqual(before);
    expect(await lab.stage(three, two)).toEqual({ ok: true, state: 'staged' });
  });

  it('asks for a full pack when it has not got the base, without reading', async () => {
    const one = lab.upstream.commit({ a: '1\n' });
    await lab.initialize(one);
    const base = lab.upstream.commit({ a: '2\n' }, one);
    const two = lab.upstream.commit({ a: '3\n' }, base);
    expect(await lab.stageIndexed(two, base, forever)).toEqual({ ok: true, state: 'need_full' });
    expect(await lab.stageIndexed(two, null)).toEqual({ ok: true, state: 'staged' });
  });

  it('asks for a thin pack where there is no tar, without reading', async () => {
    const programs = await makeTemporaryDirectory();
    await linkPrograms(programs.path, (name) => name !== 'tar');
    const bare = await makeCloneLab(['/usr/bin/env', `PATH=${programs.path}`, '/bin/sh']);
    try {
      const one = bare.upstream.commit({ a: '1\n' });
      await bare.initialize(one);
      const two = bare.upstream.commit({ a: '2\n' }, one);
      for (const have of [one, null]) {
        expect(await bare.stageIndexed(two, have, forever)).toEqual({
          ok: true,
          state: 'need_thin',
        });
      }
      expect(await bare.stage(two, one)).toEqual({ ok: true, state: 'staged' });
    } finally {
      await bare.close();
      await programs.remove();
    }
  });

  it('makes a clone whole that has lost objects, if it is a full pack', async () => {
    const one = lab.upstream.commit({ a: '1\n', b: '1\n' });
    await lab.initialize(one);
    const two = lab.upstream.commit({ a: '2\n', b: '1\n' }, one);
    const lost = gitLine(lab.path, 'rev-parse', 'HEAD:b');
    await rm(file('.git/objects/pack'), { recursive: true });
    await mkdir(file('.git/objects/pack'));
    expect(() => gitLine(lab.path, 'cat-file', '-e', lost)).toThrow();
    expect(await lab.stageIndexed(two, null)).toEqual({ ok: true, state: 'staged' });
    expect(gitLine(lab.path, 'fsck', '--strict')).toBe('');
    expect(await lab.switchTo(two)).toMatchObject({ state: 'switched', head: two });
  });
});

const packs = async (): Promise<string[]> =>
  (await readdir(file('.git/objects/pack'))).filter((name) => name.endsWith('.pack')).toSorted();

/** Puts blobs into the clone, each in a pack of its own. */
async function packBlobs(count: number): Promise<string[]> {
  const program = `cd "$1" && for i in $(seq "$2"); do
    blob=$(echo "$i" | git hash-object -w --stdin) && echo "$blob" | git pack-objects -q .git/objects/pack/pack >/dev/null &&
      rm -rf .git/objects/[0-9a-f][0-9a-f] && echo "$blob"
  done`;
  const run = promisify(execFile);
  const { stdout } = await run('sh', ['-ec', program, 'sh', lab.path, `${count}`]);
  return stdout.trim().split('\n');
}
