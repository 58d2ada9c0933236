import { describe, expect, it } from 'vitest';
import type { TargetGroup } from '../../src/domain/batches.ts';
import { planGroupBatches, planManualBatches } from '../../src/domain/batches.ts';
import { AppError } from '../../src/domain/errors.ts';
import { writePlan } from './plan-notation.ts';

type Levels = readonly (readonly string[])[];

const servers = (first: number, last: number): string[] =>
  Array.from({ length: last - first + 1 }, (_, i) => `s${first + i}`);

const group = (name: string, on: readonly string[], levels: Levels, rolling: boolean) =>
  ({ name, servers: on, levels, rolling }) satisfies TargetGroup;

const rolling = (name: string, on: readonly string[], levels: Levels): TargetGroup =>
  group(name, on, levels, true);

const together = (name: string, on: readonly string[], levels: Levels): TargetGroup =>
  group(name, on, levels, false);

const plan = (divisor: number, ...groups: readonly TargetGroup[]) =>
  planGroupBatches({ groups, divisor, rollingPauseSeconds: 60, orderedPauseSeconds: 5 });

describe('the table of API.md', () => {
  it.each([
    {
      input: 'N=2, rolling s0..s4 [a]',
      batches: plan(2, rolling('g', servers(0, 4), [['a']])),
      expected: '{s0,s1,s2}a · {s3,s4}a',
    },
    {
      input: 'N=2, rolling s0..s3 [[a,b],[c]]',
      batches: plan(2, rolling('g', servers(0, 3), [['a', 'b'], ['c']])),
      expected: '{s0,s1}ab ordered · {s0,s1}c · {s2,s3}ab ordered · {s2,s3}c',
    },
    {
      input: 'N=3, rolling s0..s6 [a]',
      batches: plan(3, rolling('g', servers(0, 6), [['a']])),
      expected: '{s0,s1}a · {s2,s3,s4}a · {s5,s6}a',
    },
    {
      input: 'N=10, rolling s0..s2 [a]',
      batches: plan(10, rolling('g', servers(0, 2), [['a']])),
      expected: '{s0}a · {s1}a · {s2}a',
    },
    {
      input: 'N=2, rolling g s0,s1 [[a],[b]]; rolling h s2,s3 [[c],[d],[e]]',
      batches: plan(
        2,
        rolling('g', servers(0, 1), [['a'], ['b']]),
        rolling('h', servers(2, 3), [['c'], ['d'], ['e']]),
      ),
      expected:
        '{s0}a{s2}c ordered · {s0}b{s2}d ordered · {s2}e · {s1}a{s3}c ordered · {s1}b{s3}d ordered · {s3}e',
    },
    {
      input: 'N=2, rolling s0..s3 [a]; non-rolling s8,s9 [[x],[y]]',
      batches: plan(
        2,
        rolling('g', servers(0, 3), [['a']]),
        together('n', servers(8, 9), [['x'], ['y']]),
      ),
      expected: '{s0,s1}a{s8,s9}x ordered · {s8,s9}y · {s2,s3}a',
    },
    {
      input: 'N=1, g s0 [[a],[b]]; h s0,s5 [b]',
      batches: plan(1, rolling('g', ['s0'], [['a'], ['b']]), rolling('h', ['s0', 's5'], [['b']])),
      expected: '{s0}a{s5}b ordered · {s0}b',
    },
    {
      input: 'non-rolling n1 s1,s2 [x]; n2 s3,s4 [y]',
      batches: plan(
        2,
        together('n1', servers(1, 2), [['x']]),
        together('n2', servers(3, 4), [['y']]),
      ),
      expected: '{s1,s2}x{s3,s4}y',
    },
  ])('$input', ({ batches, expected }) => {
    expect(writePlan(batches)).toBe(expected);
  });
});

describe('slices', () => {
  it.each([
    { length: 5, divisor: 2, sizes: [3, 2] },
    { length: 7, divisor: 2, sizes: [4, 3] },
    { length: 4, divisor: 3, sizes: [1, 2, 1] },
    { length: 5, divisor: 3, sizes: [2, 1, 2] },
    { length: 10, divisor: 3, sizes: [3, 4, 3] },
    { length: 5, divisor: 4, sizes: [1, 2, 1, 1] },
    { length: 7, divisor: 4, sizes: [2, 2, 1, 2] },
    { length: 10, divisor: 4, sizes: [3, 2, 3, 2] },
    { length: 6, divisor: 5, sizes: [1, 1, 2, 1, 1] },
    { length: 3, divisor: 10, sizes: [1, 1, 1] },
    { length: 3, divisor: Number.MAX_SAFE_INTEGER, sizes: [1, 1, 1] },
    { length: 4, divisor: 1, sizes: [4] },
    { length: 4, divisor: 0, sizes: [4] },
  ])('$length servers at divisor $divisor are cut into $sizes', ({ length, divisor, sizes }) => {
    const batches = plan(divisor, rolling('g', servers(0, length - 1), [['a']]));
    expect(batches.map(({ pairs }) => pairs.length)).toEqual(sizes);
  });

  it('sort servers by code units, so that web10 goes before web2 and Z before a', () => {
    const batches = plan(4, rolling('g', ['a', 'web2', 'Z', 'web10'], [['x']]));
    expect(writePlan(batches)).toBe('{Z}x · {a}x · {web10}x · {web2}x');
  });

  it('give a server of two rolling groups the slice of the group that is first by name', () => {
    const g = rolling('g', servers(0, 3), [['a']]);
    const h = rolling('h', ['s0', 's1', 's2', 's9'], [['b']]);
    expect(writePlan(plan(2, h, g))).toBe('{s0,s1}ab · {s2}ab{s3}a{s9}b');
  });

  it('count the places of a later group with the servers that an earlier group has taken', () => {
    const g = rolling('g', ['s0'], [['a']]);
    const h = rolling('h', servers(0, 3), [['b']]);
    // h alone is cut {s0,s1} · {s2,s3}; that s0 is also in g must not move the cut.
    expect(writePlan(plan(2, g, h))).toBe('{s0}ab{s1}b · {s2,s3}b');
  });

  it('move all pairs of a rolling server to its slice, those of non-rolling groups as well', () => {
    const g = rolling('g', servers(0, 1), [['a']]);
    const n = together('b', ['s1', 's9'], [['x']]);
    expect(writePlan(plan(2, g, n))).toBe('{s0}a{s9}x · {s1}ax');
  });

  it('keep their number when the one before has no server left', () => {
    const g = rolling('g', ['s1'], [['a']]);
    const h = rolling('h', servers(0, 2), [['b']]);
    const batches = plan(3, g, h);
    expect(writePlan(batches)).toBe('{s0}b{s1}ab · {s2}b');
    expect(batches.map(({ index, slice }) => ({ index, slice }))).toEqual([
      { index: 0, slice: 0 },
      { index: 1, slice: 2 },
    ]);
  });
});

describe('levels', () => {
  it('are counted by a pair’s highest group on that server only, not by groups that lack the server', () => {
    const g = together('g', ['s0'], [['a'], ['b'], ['c']]);
    const h = together('h', ['s0', 's1'], [['c', 'a']]);
    expect(writePlan(plan(1, g, h))).toBe('{s0}a{s1}ac ordered · {s0}b ordered · {s0}c');
  });

  it('may be empty, which leaves no batch and no pause behind', () => {
    const batches = plan(1, rolling('g', ['s0'], [['a'], [], ['c'], []]));
    expect(batches.map(({ level, ordered }) => ({ level, ordered }))).toEqual([
      { level: 0, ordered: true },
      { level: 2, ordered: false },
    ]);
  });

  it('take the higher one if a group names a gitdeploy twice', () => {
    expect(writePlan(plan(1, together('g', ['s0'], [['a', 'b'], ['a']])))).toBe(
      '{s0}b ordered · {s0}a',
    );
  });
});

describe('pauses', () => {
  it('are ordered, rolling, ordered, none for two slices of two levels', () => {
    const batches = plan(2, rolling('g', servers(0, 3), [['a'], ['b']]));
    expect(batches.map(({ pauseAfterSeconds }) => pauseAfterSeconds)).toEqual([5, 60, 5, 0]);
  });

  it('are rolling after a slice that has fewer levels than another group', () => {
    const batches = plan(
      2,
      rolling('g', servers(0, 3), [['a']]),
      together('n', servers(8, 9), [['x'], ['y']]),
    );
    expect(batches.map(({ pauseAfterSeconds }) => pauseAfterSeconds)).toEqual([5, 60, 0]);
  });

  it('are none after a single batch', () => {
    const [only] = plan(5, rolling('g', ['s0'], [['a']]));
    expect(only).toEqual({
      index: 0,
      slice: 0,
      level: 0,
      ordered: false,
      pauseAfterSeconds: 0,
      pairs: [{ server: 's0', gitdeploy: 'a' }],
    });
  });
});

describe('a group plan', () => {
  it('is empty without groups, without servers or without gitdeploys', () => {
    expect(plan(2)).toEqual([]);
    expect(plan(2, rolling('g', [], [['a']]), together('n', [], [['b']]))).toEqual([]);
    expect(plan(2, rolling('g', ['s0'], [[], []]))).toEqual([]);
  });

  it('leaves a group without servers out of the way of the others', () => {
    expect(
      writePlan(plan(2, rolling('g', servers(0, 1), [['a']]), together('z', [], [['z']]))),
    ).toBe('{s0}a · {s1}a');
  });

  it('takes a server or gitdeploy that is given twice once', () => {
    expect(writePlan(plan(2, rolling('g', ['s1', 's0', 's1', 's0'], [['a', 'a']])))).toBe(
      '{s0}a · {s1}a',
    );
  });

  it('takes names that plain objects already have', () => {
    expect(writePlan(plan(1, together('constructor', ['toString'], [['valueOf']])))).toBe(
      '{toString}valueOf',
    );
  });

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses the divisor %d', (divisor) => {
    expect(() => plan(divisor, rolling('g', ['s0'], [['a']]))).toThrow(
      expect.objectContaining({ code: 'invalid_input' }),
    );
  });

  it.each(['rollingPauseSeconds', 'orderedPauseSeconds'])('refuses a negative %s', (key) => {
    const pauses = { rollingPauseSeconds: 0, orderedPauseSeconds: 0, [key]: -1 };
    expect(() => planGroupBatches({ groups: [], divisor: 2, ...pauses })).toThrow(AppError);
  });

  it('refuses two groups of one name, as the first by name would not be determined', () => {
    expect(() => plan(2, rolling('g', ['s0'], [['a']]), together('g', ['s1'], [['b']]))).toThrow(
      'The group `g` is targeted twice',
    );
  });

  it('is made quickly for 100,000 servers in 50 groups', () => {
    const groups = Array.from({ length: 50 }, (_, g): TargetGroup => {
      const own = Array.from({ length: 4000 }, (_unused, i) => `s${(g * 2000 + i) % 100_000}`);
      return group(`g${g}`, own.reverse(), [[`config${g}`], [`app${g}`, 'shared']], g % 3 !== 0);
    });
    const startedAt = performance.now();
    const batches = planGroupBatches({
      groups,
      divisor: 20,
      rollingPauseSeconds: 0,
      orderedPauseSeconds: 0,
    });
    const elapsedMs = performance.now() - startedAt;
    expect(batches.reduce((sum, { pairs }) => sum + pairs.length, 0)).toBe(500_000);
    // Quadratic work would take minutes; the bound leaves room for a busy machine.
    expect(elapsedMs).toBeLessThan(30_000);
  });
});

describe('a manual plan', () => {
  it('is one batch of every gitdeploy on every server, sorted, without a pause', () => {
    expect(planManualBatches({ servers: ['s1', 's0', 's1'], gitdeploys: ['b', 'a', 'b'] })).toEqual(
      [
        {
          index: 0,
          slice: 0,
          level: 0,
          ordered: false,
          pauseAfterSeconds: 0,
          pairs: [
            { server: 's0', gitdeploy: 'a' },
            { server: 's0', gitdeploy: 'b' },
            { server: 's1', gitdeploy: 'a' },
            { server: 's1', gitdeploy: 'b' },
          ],
        },
      ],
    );
  });

  it('is empty without servers or without gitdeploys', () => {
    expect(planManualBatches({ servers: [], gitdeploys: ['a'] })).toEqual([]);
    expect(planManualBatches({ servers: ['s0'], gitdeploys: [] })).toEqual([]);
  });
});
