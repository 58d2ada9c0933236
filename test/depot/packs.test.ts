import { execFile, spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { EMPTY_TREE } from '../../src/depot/git.ts';
import type { PackForm, PackOptions, PreparedPack } from '../../src/depot/packs.ts';
import { type CommitMaker, makeCommitsIn } from './commit-maker.ts';
import { type DepotFixture, failure, git, noise, openDepotFixture } from './fixtures.ts';

const exec = promisify(execFile);

let fixture: DepotFixture;
let storeTree: CommitMaker['storeTree'];
let commit: CommitMaker['commit'];

beforeAll(async () => {
  fixture = await openDepotFixture();
  ({ storeTree, commit } = makeCommitsIn(fixture));
  return fixture.close;
});

const prepare = (o: Omit<PackOptions, 'applicationId'>): Promise<PreparedPack> =>
  fixture.depot.preparePack({ applicationId: fixture.applicationId, ...o });

const temporaryFiles = (): Promise<string[]> => readdir(join(fixture.directory, '.tmp'));

/** The most that a pack of the first commit, and of each change, may weigh; a changed file comes whole in a tar. */
const FORMS: readonly { readonly form: PackForm; readonly maxBytes: readonly number[] }[] = [
  { form: 'thin', maxBytes: [1000, 700_000, 2000, 1000] },
  { form: 'indexed', maxBytes: [12_000, 700_000, 400_000, 12_000] },
  { form: 'quick', maxBytes: [12_000, 700_000, 400_000, 12_000] },
];

describe.each(FORMS)('a pack in the form $form', ({ form, maxBytes }) => {
  it('brings a clone from the commit it has to the one it wants, and holds little else', async () => {
    const [large, same] = [noise(300_000), noise(300_000, 2)];
    const changed = Buffer.concat([large, Buffer.from('changed')]);
    const entries = (a: Buffer) => [
      { name: 'a', content: a },
      { name: 'b', content: '1' },
      { name: 'same', content: same },
    ];
    const root = await commit(EMPTY_TREE, null, `begin ${form}`);
    const first = await commit(await storeTree(entries(large)), root);
    const second = await commit(await storeTree(entries(changed)), first);
    const clone = fixture.path(`clone-${form}`);
    await git(['init', '-q', '--bare', clone]);
    const steps = [
      [root, null],
      [first, root],
      [second, first],
      [first, second],
    ] as const;
    for (const [index, [want, have]] of steps.entries()) {
      const pack = await prepare({ want, have, form });
      expect(pack.sizeBytes).toBeLessThan(maxBytes[index] ?? 0);
      await receive(clone, pack.path, form);
      await pack.release();
      await git(['update-ref', `refs/heads/${index}`, want], clone);
      expect(await git(['fsck', '--strict'], clone)).toBe('');
      expect(await git(['rev-parse', `refs/heads/${index}^{tree}`], clone)).toBe(
        await fixture.depot.treeOf(fixture.applicationId, want),
      );
    }
  });

  it('goes when the only one who asked gives up while it is computed', async () => {
    const want = await commit(await storeTree([{ name: form, content: noise(5000) }]), null);
    const abort = new AbortController();
    const reason = new Error('gave up');
    const asking = expect(prepare({ want, have: null, form, signal: abort.signal })).rejects.toBe(
      reason,
    );
    const begun = form === 'thin' ? /^pack-/ : /^indexed-pack-/;
    const patience = AbortSignal.timeout(30_000);
    // Without a pause, so that it is seen before it has ended.
    while (!patience.aborted && !(await temporaryFiles()).some((name) => begun.test(name)));
    abort.abort(reason);
    await asking;
    expect(await temporaryFiles()).toEqual([]);
    const again = await prepare({ want, have: null, form });
    await again.release();
    expect(await temporaryFiles()).toEqual([]);
  });

  it('is refused for commits that the depot does not have, and leaves no file', async () => {
    const missing = { want: '1'.repeat(40), have: null, form };
    const failures = [1, 2].map(() => failure(prepare(missing), 'storage_failed'));
    await Promise.all(failures);
    await failure(prepare({ ...missing, want: '--help' }), 'internal');
    expect(await temporaryFiles()).toEqual([]);
  });
});

describe.each(['indexed', 'quick'] as const)('the tar of a pack in the form %s', (form) => {
  it('holds the pack, and after it its index, and nothing else', async () => {
    const want = await commit(await storeTree([{ name: 'a', content: '1' }]), null);
    const pack = await prepare({ want, have: null, form });
    const { stdout } = await exec('tar', ['-tf', pack.path]);
    await pack.release();
    expect(stdout).toMatch(/^(pack-[0-9a-f]{40})\.pack\n\1\.idx\n$/);
  });

  it('rests on nothing that is only in the receiver', async () => {
    const before = noise(50_000);
    const after = Buffer.concat([before, Buffer.from('and more')]);
    const have = await commit(await storeTree([{ name: 'a', content: before }]), null);
    const want = await commit(await storeTree([{ name: 'a', content: after }]), have);
    const elsewhere = fixture.path(`elsewhere-${form}`);
    await git(['init', '-q', '--bare', elsewhere]);
    const pack = await prepare({ want, have, form });
    await receive(elsewhere, pack.path, form);
    await pack.release();
    const [index = ''] = (await readdir(join(elsewhere, 'objects/pack'))).filter((name) =>
      name.endsWith('.idx'),
    );
    await git(['verify-pack', join(elsewhere, 'objects/pack', index)]);
    expect((await git(['cat-file', '-s', `${want}:a`], elsewhere)).trim()).toBe(
      String(after.length),
    );
  });
});

describe('packs', () => {
  it('are computed once for all who ask at the same time, and go with the last of them', async () => {
    const want = await commit(await storeTree([{ name: 'shared', content: noise(5000) }]), null);
    const ask = () => prepare({ want, have: null, form: 'thin' });
    const [one, two] = await Promise.all([ask(), ask()]);
    expect(one.path).toBe(two.path);
    await one.release();
    await one.release();
    await access(two.path);
    const three = await ask();
    expect(three.path).toBe(two.path);
    await two.release();
    await three.release();
    expect(await temporaryFiles()).toEqual([]);
    const four = await ask();
    expect(four.path).not.toBe(one.path);
    await four.release();
  });

  it('are not taken from others when one of them gives up', async () => {
    const want = await commit(await storeTree([{ name: 'wanted', content: noise(5000) }]), null);
    const ask = (signal?: AbortSignal) => prepare({ want, have: null, form: 'indexed', signal });
    const abort = new AbortController();
    const reason = new Error('gave up');
    const [first, second] = [ask(abort.signal), ask()];
    abort.abort(reason);
    await expect(first).rejects.toBe(reason);
    const pack = await second;
    await access(pack.path);
    await pack.release();
    await expect(ask(AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await temporaryFiles()).toEqual([]);
  });

  it('are different ones for each form of the same commit', async () => {
    const file = noise(100_000);
    const longer = Buffer.concat([file, Buffer.from('x')]);
    const parent = await commit(await storeTree([{ name: 'a', content: file }]), null);
    const want = await commit(await storeTree([{ name: 'a', content: longer }]), parent);
    const [thin, indexed, quick] = await Promise.all([
      prepare({ want, have: null, form: 'thin' }),
      prepare({ want, have: null, form: 'indexed' }),
      prepare({ want, have: null, form: 'quick' }),
    ]);
    expect(new Set([thin.path, indexed.path, quick.path]).size).toBe(3);
    // Only for the quick one has nobody looked whether the later file is the earlier one and a letter.
    expect(thin.sizeBytes).toBeLessThan(150_000);
    expect(indexed.sizeBytes).toBeLessThan(150_000);
    expect(quick.sizeBytes).toBeGreaterThan(200_000);
    for (const pack of [thin, indexed, quick]) await pack.release();
    expect(await temporaryFiles()).toEqual([]);
  });
});

/** Does what a server does with a pack. */
async function receive(gitDir: string, path: string, form: PackForm): Promise<void> {
  if (form !== 'thin') {
    await exec('tar', ['-xf', path, '-C', join(gitDir, 'objects/pack')]);
    return;
  }
  const child = spawn('git', ['index-pack', '--stdin', '--fix-thin'], {
    cwd: gitDir,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const exit = new Promise((resolve) => child.once('close', resolve));
  await pipeline(createReadStream(path), child.stdin);
  if ((await exit) !== 0) throw new Error(stderr);
}
