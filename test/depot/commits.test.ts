import { beforeAll, describe, expect, it } from 'vitest';
import { EMPTY_TREE } from '../../src/depot/git.ts';
import { AUTHOR, type CommitMaker, DATE, makeCommitsIn } from './commit-maker.ts';
import { type DepotFixture, failure, git, openDepotFixture } from './fixtures.ts';

let fixture: DepotFixture;
let storeTree: CommitMaker['storeTree'];
let commit: CommitMaker['commit'];

beforeAll(async () => {
  fixture = await openDepotFixture();
  ({ storeTree, commit } = makeCommitsIn(fixture));
  return fixture.close;
});

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
