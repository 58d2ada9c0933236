import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { readAhead } from '../../src/services/read-ahead.ts';

/** Counts up to `end`, where it fails if it is told to, and notes how far it is. */
async function* count(
  end: number,
  at: { made: number; isOver: boolean },
  fails = false,
): AsyncGenerator<number> {
  try {
    for (; at.made < end; yield at.made) at.made += 1;
    if (fails) await Promise.reject(new Error('at the end'));
  } finally {
    at.isOver = true;
  }
}

const start = () => ({ made: 0, isOver: false });

describe('what is read ahead', () => {
  it('is all there is in its order, and one more than was taken', async () => {
    const at = start();
    const taken: number[] = [];
    for await (const n of readAhead(count(5, at))) {
      taken.push(n);
      await turn();
      expect(at.made).toBe(Math.min(n + 1, 5));
    }
    expect(taken).toEqual([1, 2, 3, 4, 5]);
    expect(at.isOver).toBe(true);
  });

  it('fails after what came before', async () => {
    const source = readAhead(count(1, start(), true));
    expect(await source.next()).toEqual({ done: false, value: 1 });
    await turn();
    await expect(source.next()).rejects.toThrow('at the end');
  });

  it('is let go by who has enough, even if what was ahead has failed', async () => {
    for (const fails of [false, true]) {
      const at = start();
      for await (const n of readAhead(count(fails ? 2 : 9, at, fails))) if (n === 2) break;
      expect([at.isOver, at.made]).toEqual([true, fails ? 2 : 3]);
    }
  });
});
