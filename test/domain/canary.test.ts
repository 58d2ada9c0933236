import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withApprovals } from '../../src/domain/approval.ts';
import type { TargetGroup } from '../../src/domain/batches.ts';
import { canarySize, planGroupCanary, planManualCanary } from '../../src/domain/canary.ts';
import { writePlan } from './plan-notation.ts';

const options = { divisor: 2, rollingPauseSeconds: 60, orderedPauseSeconds: 5 };
const servers = (count: number) => Array.from({ length: count }, (_, i) => `s${i}`);
const group = (name: string, of: Partial<TargetGroup>): TargetGroup => ({
  name,
  rolling: true,
  servers: [],
  levels: [],
  ...of,
});

describe('the size of a canary', () => {
  it.each([
    ['1', 5, 1],
    ['3', 5, 3],
    ['10%', 5, 1],
    ['10%', 20, 2],
    ['10%', 21, 3],
    ['99%', 3, 0],
    ['5', 5, 0],
    ['100%', 7, 0],
    ['1', 1, 0],
  ])('%s of %i servers is %i', (size, count, expected) => {
    expect(canarySize(size, count)).toBe(expected);
  });
});

describe('a group deployment with a canary', () => {
  const groups = [group('g', { servers: servers(5), levels: [['a'], ['b']] })];

  it('takes the first servers through all levels, then rolls over the rest', () => {
    const batches = planGroupCanary(groups, options, { size: '1', pauseSeconds: 600 });
    expect(writePlan(batches)).toBe(
      '{s0}a ordered · {s0}b · {s1,s2}a ordered · {s1,s2}b · {s3,s4}a ordered · {s3,s4}b',
    );
    expect(batches.map((b) => [b.index, b.slice, b.canary ?? false, b.pauseAfterSeconds])).toEqual([
      [0, 0, true, 5],
      [1, 0, true, 600],
      [2, 1, false, 5],
      [3, 1, false, 60],
      [4, 2, false, 5],
      [5, 2, false, 0],
    ]);
  });

  it('counts servers, not groups, and takes them by name', () => {
    const two = [
      group('g', { servers: ['b1', 'b2'], levels: [['x']] }),
      group('h', { rolling: false, servers: ['a1', 'a2'], levels: [['y']] }),
    ];
    expect(writePlan(planGroupCanary(two, options, { size: '50%', pauseSeconds: 0 }))).toBe(
      '{a1,a2}y · {b1}x · {b2}x',
    );
  });

  it('has none where it would be of all servers', () => {
    const batches = planGroupCanary(groups, options, { size: '5', pauseSeconds: 600 });
    expect(batches.some((b) => b.canary)).toBe(false);
    expect(batches.map((b) => b.slice)).toEqual([0, 0, 1, 1]);
  });

  it('deploys every pair once, whatever the size', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 4 }),
        fc.boolean(),
        (count, size, divisor, rolling) => {
          const all = [group('g', { rolling, servers: servers(count), levels: [['a'], ['b']] })];
          const batches = planGroupCanary(
            all,
            { ...options, divisor },
            { size: String(size), pauseSeconds: 1 },
          );
          const pairs = batches.flatMap((b) => b.pairs.map((p) => `${p.server}/${p.gitdeploy}`));
          expect(pairs.toSorted()).toEqual(
            servers(count)
              .flatMap((s) => [`${s}/a`, `${s}/b`])
              .toSorted(),
          );
          expect(batches.map((b) => b.index)).toEqual(batches.map((_, i) => i));
          expect(batches.at(-1)?.pauseAfterSeconds).toBe(0);
          const canaries = new Set(
            batches.filter((b) => b.canary).flatMap((b) => b.pairs.map((p) => p.server)),
          );
          expect(canaries.size).toBe(size < count ? size : 0);
        },
      ),
    );
  });
});

describe('a manual deployment with a canary', () => {
  it('is two batches', () => {
    const target = { servers: ['s2', 's0', 's1'], gitdeploys: ['a', 'b'] };
    const batches = planManualCanary(target, { size: '1', pauseSeconds: 30 });
    expect(writePlan(batches)).toBe('{s0}ab · {s1,s2}ab');
    expect(batches.map((b) => [b.slice, b.pauseAfterSeconds])).toEqual([
      [0, 30],
      [1, 0],
    ]);
  });
});

describe('approvals', () => {
  const batches = planGroupCanary(
    [group('g', { servers: servers(5), levels: [['a'], ['b']] })],
    options,
    { size: '1', pauseSeconds: 0 },
  );
  const waitsAfter = (approve: 'none' | 'after_canary' | 'each_slice') =>
    withApprovals(batches, approve)
      .filter((b) => b.approvalAfter)
      .map((b) => b.index);

  it('come after the canary, after every slice but the last, or nowhere', () => {
    expect(waitsAfter('none')).toEqual([]);
    expect(waitsAfter('after_canary')).toEqual([1]);
    expect(waitsAfter('each_slice')).toEqual([1, 3]);
  });
});
