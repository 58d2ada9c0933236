import { expect, it } from 'vitest';
import { keepDiffs } from '../../src/depot/diff-cache.ts';

const pair = (to: string) => ({ applicationId: 'shop', from: 'before', to });

it('a diff is computed once, until too many files were compared since', async () => {
  const computed: string[] = [];
  const diffs = keepDiffs(({ to }: ReturnType<typeof pair>) => {
    computed.push(to);
    const added = Array.from({ length: 20_000 }, (_, i) => ({ path: `${to}/${i}`, bytes: i }));
    return Promise.resolve({ added, modified: [], deleted: [] });
  });
  for (const to of ['a', 'b', 'a', 'c', 'a', 'b']) {
    expect((await diffs.get(pair(to))).added[0]?.path).toBe(`${to}/0`);
  }
  expect(computed).toEqual(['a', 'b', 'c', 'b']);
  expect(diffs.peek(pair('b'))?.added[0]?.path).toBe('b/0');
  expect(diffs.peek(pair('c'))).toBeNull();
  expect(computed).toHaveLength(4);
});
