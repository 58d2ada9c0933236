import { beforeAll, describe, expect, it } from 'vitest';
import { EMPTY_TREE } from '../../src/depot/git.ts';
import { makePackFormChooser } from '../../src/depot/pack-form.ts';
import type { PackForm } from '../../src/depot/packs.ts';
import { makeCommitsIn } from './commit-maker.ts';
import { type DepotFixture, failure, openDepotFixture } from './fixtures.ts';

const MIB = 1024 ** 2;

let fixture: DepotFixture;
/** Holds 5 MiB, of which 3 MiB are changed in what comes after it, and nothing else of them stays. */
let base: string;
/** Changes and adds exactly as much as a near receiver gets whole. */
let small: string;
/** Changes and adds one byte more. */
let large: string;
let empty: string;

beforeAll(async () => {
  fixture = await openDepotFixture();
  const { storeTree, commit } = makeCommitsIn(fixture);
  const entries = (files: Readonly<Record<string, number>>, fill: string) =>
    Object.entries(files).map(([name, bytes]) => ({ name, content: Buffer.alloc(bytes, fill) }));
  empty = await commit(EMPTY_TREE, null, 'begin');
  base = await commit(await storeTree(entries({ changed: MIB, gone: 4 * MIB }, 'a')), empty);
  small = await commit(await storeTree(entries({ changed: 3 * MIB, new: 5 * MIB }, 'b')), base);
  large = await commit(await storeTree(entries({ changed: 3 * MIB, new: 5 * MIB + 1 }, 'b')), base);
  return fixture.close;
});

const choose = (want: string, have: string | null, isNear: boolean): Promise<PackForm> =>
  fixture.depot.choosePackForm({ applicationId: fixture.applicationId, want, have, isNear });

describe('the form of a pack', () => {
  it('is one with an index for who has nothing yet, quick to make for who is near', async () => {
    for (const have of [null, empty]) {
      expect(await choose(large, have, true)).toBe('quick');
      expect(await choose(large, have, false)).toBe('indexed');
    }
  });

  it('is thin for who is far and has something, however little has changed', async () => {
    expect(await choose(small, base, false)).toBe('thin');
    expect(await choose(base, base, false)).toBe('thin');
  });

  it('is quick for who is near while no more than 8 MiB are new or changed, and then thin', async () => {
    expect(await choose(base, base, true)).toBe('quick');
    expect(await choose(small, base, true)).toBe('quick');
    expect(await choose(large, base, true)).toBe('thin');
  });

  it('is asked of the depot anew after a failure', async () => {
    await failure(choose(small, '1'.repeat(40), true), 'storage_failed');
    await failure(choose('1'.repeat(40), base, true), 'storage_failed');
    expect(await choose(small, base, true)).toBe('quick');
  });
});

describe('a chooser', () => {
  it('computes once what many ask at once, for each commit and distance', async () => {
    const { depot, applicationId } = fixture;
    const asked: string[] = [];
    const compared: string[] = [];
    const chooser = makePackFormChooser({
      trees: {
        of: (id, commit) => {
          asked.push(commit);
          return depot.treeOf(id, commit);
        },
      },
      diffTrees: (o) => {
        compared.push(o.to);
        return depot.diffTrees(o);
      },
    });
    const many = (want: string, isNear: boolean): Promise<PackForm>[] =>
      Array.from({ length: 50 }, () => chooser({ applicationId, want, have: base, isNear }));
    const forms = await Promise.all([
      ...many(small, true),
      ...many(large, true),
      ...many(small, false),
    ]);
    expect([...new Set(forms.slice(0, 50)), ...new Set(forms.slice(50))]).toEqual([
      'quick',
      'thin',
    ]);
    expect(asked).toEqual([base, base, base]);
    expect(compared.toSorted()).toEqual([small, large].toSorted());
    // What has been answered is not kept: the diff is, where it belongs.
    await Promise.all(many(small, true));
    expect(compared).toHaveLength(3);
  });
});
