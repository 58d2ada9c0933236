import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CloneLab, failureOf, forever, gitLine, makeCloneLab, snapshot } from './clone-lab.ts';

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
