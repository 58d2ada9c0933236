import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { EMPTY_TREE } from '../../src/depot/git.ts';
import { type TarEntry, tarGz } from './archive-builders.ts';
import { type DepotFixture, failure, git, noise, openDepotFixture } from './fixtures.ts';

let fixture: DepotFixture;
let builds = 0;

const AUTHOR = { name: 'Ü <b>, "c"', email: 'u@example.com' };
const DATE = new Date('2026-03-01T12:00:00.999Z');

beforeAll(async () => {
  fixture = await openDepotFixture();
  return fixture.close;
});

async function storeTree(entries: readonly TarEntry[]): Promise<string> {
  const { tree } = await fixture.depot.ingestBuild({
    applicationId: fixture.applicationId,
    buildId: `build-${++builds}`,
    archivePath: await fixture.spool(tarGz(entries)),
    fileType: 'tar.gz',
  });
  return tree;
}

async function commit(
  tree: string,
  parent: string | null,
  message = 'Deploy 1.2.3',
): Promise<string> {
  return await fixture.depot.commitTree({
    applicationId: fixture.applicationId,
    tree,
    parent,
    message,
    author: AUTHOR,
    date: DATE,
  });
}

describe('a commit', () => {
  it('has the same id for the same input, and says what it was given', async () => {
    const tree = await storeTree([{ name: 'a', content: '1' }]);
    const root = await commit(EMPTY_TREE, null);
    const id = await commit(tree, root, 'Deploy "ü"\n\nBody');
    expect(await commit(tree, root, 'Deploy "ü"\n\nBody')).toBe(id);
    expect(await commit(tree, null, 'Deploy "ü"\n\nBody')).not.toBe(id);
    const format = '%T|%P|%an|%ae|%at|%cn|%ct|%B';
    expect(await git(['show', '-s', `--format=${format}`, id], fixture.gitDir)).toBe(
      `${tree}|${root}|Ü b, "c|u@example.com|1772366400|Ü b, "c|1772366400|Deploy "ü"\n\nBody`,
    );
    expect(await fixture.depot.treeOf(fixture.applicationId, id)).toBe(tree);
  });

  it('is refused without an author, and for ids that are none', async () => {
    const options = {
      applicationId: fixture.applicationId,
      parent: null,
      message: 'm',
      date: DATE,
    };
    await failure(
      fixture.depot.commitTree({ ...options, tree: EMPTY_TREE, author: { name: '<>', email: '' } }),
      'invalid_input',
    );
    await failure(fixture.depot.commitTree({ ...options, tree: '-h', author: AUTHOR }), 'internal');
    await failure(
      fixture.depot.commitTree({ ...options, tree: '1'.repeat(40), author: AUTHOR }),
      'storage_failed',
    );
  });
});

describe('a head', () => {
  it('keeps its history alive in whatever order workers tell of it', async () => {
    const one = await commit(EMPTY_TREE, null, 'one');
    const two = await commit(EMPTY_TREE, one, 'two');
    const three = await commit(EMPTY_TREE, two, 'three');
    const keep = (id: string, from: { parent?: string } = {}) =>
      fixture.depot.keepHead({
        applicationId: fixture.applicationId,
        gitrepoId: 'repo',
        branch: 'x y..z',
        commit: id,
        ...from,
      });
    await Promise.all([keep(three), keep(one), keep(two)]);
    await keep(two);
    await keep(two);
    expect(await headsOf()).toEqual([three]);
    const other = await commit(EMPTY_TREE, two, 'a head that lost the race');
    await keep(other);
    expect(await headsOf()).toEqual([other, three].sort());
    const four = await commit(EMPTY_TREE, three, 'four');
    await keep(four, { parent: three });
    expect(await headsOf()).toEqual([other, four].sort());
  });

  it('takes the place of the commit that it grew from', async () => {
    const { depot, applicationId } = fixture;
    const branch = { applicationId, gitrepoId: 'repo-1', branch: 'main' };
    const before = await headsOf();
    const parent = await commit(EMPTY_TREE, null, 'parent');
    await depot.keepHead({ ...branch, commit: parent });
    const child = await commit(EMPTY_TREE, parent, 'child');
    await depot.keepHead({ ...branch, commit: child, parent });
    expect(await headsOf()).toEqual([...before, child].sort());
    await depot.dropHeads(applicationId, 'repo-1');
  });

  it('is let go with its gitrepo, and with it alone', async () => {
    const id = await commit(EMPTY_TREE, null, 'other');
    const { depot, applicationId } = fixture;
    await depot.keepHead({ applicationId, gitrepoId: 'repo-2', branch: 'main', commit: id });
    await depot.dropHeads(applicationId, 'repo');
    await depot.dropHeads(applicationId, 'repo');
    expect(await headsOf()).toEqual([id]);
    await depot.dropHeads(applicationId, 'repo-2');
    expect(await headsOf()).toEqual([]);
  });
});

async function headsOf(): Promise<string[]> {
  const heads = await git(
    ['for-each-ref', '--format=%(objectname)', 'refs/muster/heads/'],
    fixture.gitDir,
  );
  return heads === '' ? [] : heads.split('\n').sort();
}

describe('a pack', () => {
  it('brings a clone from the commit it has to the one it wants, and is small', async () => {
    const large = noise(300_000);
    const changed = Buffer.concat([large, Buffer.from('changed')]);
    const root = await commit(EMPTY_TREE, null, 'begin');
    const first = await commit(
      await storeTree([
        { name: 'a', content: large },
        { name: 'b', content: '1' },
      ]),
      root,
    );
    const second = await commit(
      await storeTree([
        { name: 'a', content: changed },
        { name: 'b', content: '1' },
      ]),
      first,
    );
    const clone = fixture.path('clone');
    await git(['init', '-q', '--bare', clone]);
    for (const [want, have, maxBytes] of [
      [root, null, 1000],
      [first, root, 400_000],
      [second, first, 2000],
    ] as const) {
      const pack = await fixture.depot.preparePack({
        applicationId: fixture.applicationId,
        want,
        have,
      });
      expect(pack.sizeBytes).toBeLessThan(maxBytes);
      await indexPack(clone, pack.path);
      await pack.release();
      await git(['update-ref', 'refs/heads/main', want], clone);
      expect(await git(['fsck', '--strict'], clone)).toBe('');
    }
    expect(await git(['rev-parse', 'main^{tree}'], clone)).toBe(
      await fixture.depot.treeOf(fixture.applicationId, second),
    );
  });

  it('is computed once for all who ask at the same time, and goes with the last of them', async () => {
    const want = await commit(await storeTree([{ name: 'shared', content: noise(5000) }]), null);
    const ask = () =>
      fixture.depot.preparePack({ applicationId: fixture.applicationId, want, have: null });
    const [one, two] = await Promise.all([ask(), ask()]);
    expect(one.path).toBe(two.path);
    await one.release();
    await one.release();
    await access(two.path);
    const three = await ask();
    expect(three.path).toBe(two.path);
    await two.release();
    await three.release();
    expect(await readdir(join(fixture.directory, '.tmp'))).toEqual([]);
    const four = await ask();
    expect(four.path).not.toBe(one.path);
    await four.release();
  });

  it('is not taken from others when one of them gives up', async () => {
    const want = await commit(await storeTree([{ name: 'wanted', content: noise(5000) }]), null);
    const ask = (signal?: AbortSignal) =>
      fixture.depot.preparePack({ applicationId: fixture.applicationId, want, have: null, signal });
    const abort = new AbortController();
    const reason = new Error('gave up');
    const [first, second] = [ask(abort.signal), ask()];
    abort.abort(reason);
    await expect(first).rejects.toBe(reason);
    const pack = await second;
    await access(pack.path);
    await pack.release();
    await expect(ask(AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await readdir(join(fixture.directory, '.tmp'))).toEqual([]);
  });

  it('fails for commits that the depot does not have, and leaves no file', async () => {
    const options = { applicationId: fixture.applicationId, want: '1'.repeat(40), have: null };
    const failures = [1, 2].map(() =>
      failure(fixture.depot.preparePack(options), 'storage_failed'),
    );
    await Promise.all(failures);
    await failure(fixture.depot.preparePack({ ...options, want: '--help' }), 'internal');
    expect(await readdir(join(fixture.directory, '.tmp'))).toEqual([]);
  });
});

async function indexPack(gitDir: string, path: string): Promise<void> {
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
