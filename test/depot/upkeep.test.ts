import { readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DepotGuard } from '../../src/depot/guard.ts';
import type { MaintainOptions, NeededTree } from '../../src/depot/upkeep.ts';
import { type TarEntry, tarGz } from './archive-builders.ts';
import { type DepotFixture, git, noise, openDepotFixture } from './fixtures.ts';

const HOUR_MS = 3600 * 1000;
const EMPTY_TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
const AUTHOR = { name: 'Ann', email: 'ann@localhost' };

let fixture: DepotFixture;
beforeEach(async () => {
  fixture = await openDepotFixture();
});
afterEach(() => fixture.close());

async function store(buildId: string, entries: readonly TarEntry[]): Promise<NeededTree> {
  const { tree } = await fixture.depot.ingestBuild({
    applicationId: fixture.applicationId,
    buildId,
    archivePath: await fixture.spool(tarGz(entries)),
    fileType: 'tar.gz',
  });
  return { buildId, packageName: null, tree };
}

function commit(tree: string, parent: string | null, message: string): Promise<string> {
  const { applicationId } = fixture;
  const date = new Date(0);
  return fixture.depot.commitTree({ applicationId, tree, parent, message, author: AUTHOR, date });
}

type Quiet = Parameters<DepotGuard['whileQuiet']>[1];

async function maintain({
  whileQuiet = (work) => work(() => Promise.resolve(true)),
  ...o
}: Partial<MaintainOptions> & { readonly whileQuiet?: (work: Quiet) => Promise<void> } = {}) {
  fixture.guard.whileQuiet = (_request, work) => whileQuiet(work);
  return await fixture.depot.maintain({
    applicationId: fixture.applicationId,
    trees: [],
    commits: [],
    graceMs: HOUR_MS,
    ...o,
  });
}

/** Makes everything that is there two hours older. */
async function age(): Promise<void> {
  const then = new Date(Date.now() - 2 * HOUR_MS);
  const objects = join(fixture.gitDir, 'objects');
  for (const name of await readdir(objects, { recursive: true })) {
    await utimes(join(objects, name), then, then);
  }
  for (const name of await readdir(fixture.gitDir)) {
    if (name.startsWith('muster-')) await utimes(join(fixture.gitDir, name), then, then);
  }
}

const hasObject = (id: string): Promise<boolean> =>
  git(['cat-file', '-e', id], fixture.gitDir).then(
    () => true,
    () => false,
  );
const fsck = (): Promise<string> =>
  git(['fsck', '--full', '--strict', '--no-dangling'], fixture.gitDir);
const needs = (): Promise<string[]> => fixture.depot.listUpkeepNeeds({ graceMs: HOUR_MS });

describe('maintaining a depot', () => {
  it('makes one pack of many, lets go of deleted builds, and loses nothing that is kept alive', async () => {
    const { depot, applicationId } = fixture;
    const shared = { name: 'shared', content: noise(20_000) };
    const kept = await store('kept', [shared, { name: 'own', content: noise(5000, 2) }]);
    const gone = await store('gone', [shared, { name: 'gone', content: noise(50_000, 3) }]);
    const cut = await depot.cutPackages({
      applicationId,
      buildId: 'kept',
      tree: kept.tree,
      packages: { part: { patterns: ['own'], prefix: 'x/' } },
    });
    const root = await commit(EMPTY_TREE, null, 'root');
    const deployed = await commit(gone.tree, root, 'deployed, then its build was deleted');
    await depot.keepHead({ applicationId, gitrepoId: 'r', branch: 'master', commit: root });
    const other = await store('other', [{ name: 'other', content: noise(70_000, 4) }]);
    await depot.keepHead({ applicationId, gitrepoId: 'r', branch: 'master', commit: deployed });
    await depot.deleteBuild(applicationId, 'gone');
    await depot.deleteBuild(applicationId, 'other');
    await age();
    const report = await maintain({
      trees: [kept, { buildId: 'kept', packageName: 'part', tree: cut['part']?.tree ?? '' }],
      commits: [root, deployed].map((id) => ({ gitrepoId: 'r', branch: 'master', commit: id })),
    });
    expect(report).toMatchObject({
      packsBefore: 4,
      packsAfter: 1,
      restoredRefs: 0,
      missing: [],
      isPruned: true,
    });
    expect(report?.bytesAfter).toBeLessThan((report?.bytesBefore ?? 0) - 60_000);
    // The head still needs what the deleted build was.
    for (const id of [kept.tree, cut['part']?.tree ?? '', deployed, gone.tree]) {
      expect(await hasObject(id)).toBe(true);
    }
    expect(await hasObject(other.tree)).toBe(false);
    expect(await fsck()).toBe('');
    const again = await store('kept', [shared, { name: 'own', content: noise(5000, 2) }]);
    expect(again).toEqual(kept);
  });

  it('leaves alone what is younger than the grace period', async () => {
    const one = await store('one', [{ name: 'a', content: noise(1000) }]);
    await fixture.depot.deleteBuild(fixture.applicationId, 'one');
    const lost = await commit(EMPTY_TREE, null, 'lost a race');
    await maintain();
    expect([await hasObject(one.tree), await hasObject(lost)]).toEqual([true, true]);
    await age();
    await maintain();
    expect([await hasObject(one.tree), await hasObject(lost)]).toEqual([false, false]);
  });

  it('keeps alive what rows need and no ref does, and says what is not there at all', async () => {
    const { depot, applicationId } = fixture;
    const build = await store('build', [{ name: 'a', content: noise(1000) }]);
    const part = await store('part', [{ name: 'b', content: noise(1000, 2) }]);
    const head = await commit(part.tree, null, 'head');
    for (const id of ['build', 'part']) await depot.deleteBuild(applicationId, id);
    await age();
    const needed = {
      trees: [build, { buildId: 'build', packageName: 'p', tree: build.tree }],
      commits: [
        { gitrepoId: 'r', branch: 'b', commit: head },
        { gitrepoId: 'r', branch: 'b', commit: '1'.repeat(40) },
      ],
    };
    expect(await maintain(needed)).toMatchObject({
      restoredRefs: 3,
      missing: ['1'.repeat(40)],
      isPruned: true,
    });
    for (const id of [build.tree, part.tree, head]) expect(await hasObject(id)).toBe(true);
    expect(await maintain(needed)).toMatchObject({ restoredRefs: 0 });
    expect(await fsck()).toBe('');
  });

  it('deletes nothing when a build that came in meanwhile needs an old pack', async () => {
    const entries = [{ name: 'again', content: noise(30_000) }];
    const old = await store('old', entries);
    await fixture.depot.deleteBuild(fixture.applicationId, 'old');
    await age();
    const report = await maintain({
      whileQuiet: async (work) => {
        // Finds its blob in the old pack and does not store it again.
        expect(await store('new', entries)).toMatchObject({ tree: old.tree });
        await work(() => Promise.resolve(true));
      },
    });
    expect(report).toMatchObject({ isPruned: false });
    expect(await fsck()).toBe('');
    await age();
    expect(await maintain()).toMatchObject({ isPruned: true, packsAfter: 1 });
    expect(await hasObject(`${old.tree}:again`)).toBe(true);
  });

  it('deletes nothing without quiet, and stops when the quiet is over', async () => {
    await store('one', [{ name: 'a', content: noise(1000) }]);
    await store('two', [{ name: 'b', content: noise(1000, 2) }]);
    await age();
    const never = await maintain({ whileQuiet: () => Promise.resolve() });
    expect(never).toMatchObject({ isPruned: false, packsAfter: 3 });
    const over = await maintain({ whileQuiet: (work) => work(() => Promise.resolve(false)) });
    expect(over).toMatchObject({ isPruned: false, packsAfter: 3 });
    expect(await fsck()).toBe('');
  });

  it('ends with the reason of its signal, as if it had not been begun', async () => {
    await store('one', [{ name: 'a', content: noise(1000) }]);
    const reason = new Error('the worker stops');
    await expect(maintain({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(await readdir(join(fixture.directory, '.tmp'))).toEqual([]);
    expect(await fsck()).toBe('');
  });

  it('does nothing for an application without a repository', async () => {
    expect(await maintain({ applicationId: 'none' })).toBeNull();
  });
});

describe('a depot needs to be maintained', () => {
  it('an hour after something was deleted, and not again before six hours', async () => {
    expect(await needs()).toEqual([]);
    await store('one', [{ name: 'a', content: noise(1000) }]);
    await fixture.depot.deleteBuild(fixture.applicationId, 'one');
    expect(await needs()).toEqual([]);
    await age();
    expect(await needs()).toEqual([fixture.applicationId]);
    await maintain();
    expect(await needs()).toEqual([]);
    const mark = await stat(join(fixture.gitDir, 'muster-maintained'));
    expect(Date.now() - mark.mtimeMs).toBeLessThan(60_000);
  });

  it('when it has many packs', async () => {
    const { depot, applicationId } = fixture;
    const { tree } = await store('one', [{ name: 'a', content: noise(1000) }]);
    for (let index = 0; index < 50; index += 1) {
      const packages = { p: { patterns: ['a'], prefix: `${index}/` } };
      await depot.cutPackages({ applicationId, buildId: 'one', tree, packages });
    }
    expect(await needs()).toEqual([applicationId]);
  });
});
