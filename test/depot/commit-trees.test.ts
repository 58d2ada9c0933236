import { expect, it } from 'vitest';
import { type CommitTrees, rememberTrees } from '../../src/depot/commit-trees.ts';

/** What there is room for. */
const MANY = 10_000;

function counted(): { readonly trees: CommitTrees; readonly asked: string[] } {
  const asked: string[] = [];
  const trees = rememberTrees((applicationId, commit) => {
    asked.push(commit);
    return Promise.resolve(`${applicationId}'s tree of ${commit}`);
  });
  return { trees, asked };
}

it('the tree of a commit is asked for once, and not at all if it was told', async () => {
  const { trees, asked } = counted();
  trees.note('told', 'its tree');
  for (const _ of [1, 2]) {
    expect(await trees.of('shop', 'a')).toBe("shop's tree of a");
    expect(await trees.of('shop', 'told')).toBe('its tree');
  }
  expect(asked).toEqual(['a']);
});

it('an id is itself until it is known as a commit', async () => {
  const { trees } = counted();
  expect(trees.orSelf('a')).toBe('a');
  await trees.of('shop', 'a');
  expect(trees.orSelf('a')).toBe("shop's tree of a");
  expect(trees.orSelf("shop's tree of a")).toBe("shop's tree of a");
});

it('a tree is forgotten when too many came after it, and asked for again', async () => {
  const { trees, asked } = counted();
  await trees.of('shop', 'first');
  await trees.of('shop', 'second');
  for (let n = 2; n < MANY; n += 1) trees.note(`commit ${n}`, 'tree');
  expect(trees.orSelf('first')).not.toBe('first');
  trees.note('one more', 'tree');
  expect([trees.orSelf('first'), trees.orSelf('second')]).toEqual([
    'first',
    "shop's tree of second",
  ]);
  await trees.of('shop', 'first');
  expect(asked).toEqual(['first', 'second', 'first']);
});

it('a failure is not remembered', async () => {
  let tries = 0;
  const trees = rememberTrees(() => {
    tries += 1;
    return tries === 1 ? Promise.reject(new Error('no git')) : Promise.resolve('tree');
  });
  await expect(trees.of('shop', 'a')).rejects.toThrow('no git');
  expect(trees.orSelf('a')).toBe('a');
  expect(await trees.of('shop', 'a')).toBe('tree');
});
