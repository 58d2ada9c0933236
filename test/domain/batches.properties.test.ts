import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Batch, TargetGroup } from '../../src/domain/batches.ts';
import { planGroupBatches } from '../../src/domain/batches.ts';
import { allPairs, referencePlan, slicesOf } from './reference-plan.ts';

// Few names, so that groups share servers and gitdeploys all the time; `s10` and `S2` catch a wrong order.
const serverName = fc.constantFrom('s0', 's1', 's2', 's3', 's4', 's5', 's6', 's10', 'S2', 'é');
const gitdeployName = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const targetGroup: fc.Arbitrary<TargetGroup> = fc.record({
  name: fc.constantFrom('g', 'h', 'i', 'j', 'G', 'g10', 'g2'),
  rolling: fc.boolean(),
  servers: fc.array(serverName, { maxLength: 10 }),
  levels: fc.array(fc.array(gitdeployName, { maxLength: 3 }), { maxLength: 4 }),
});
const targetGroups = fc.uniqueArray(targetGroup, { maxLength: 6, selector: ({ name }) => name });
const anyDivisor = fc.nat({ max: 14 });
const runs = { numRuns: 1000 };

const plan = (groups: readonly TargetGroup[], divisor: number): Batch[] =>
  planGroupBatches({ groups, divisor, rollingPauseSeconds: 60, orderedPauseSeconds: 5 });

const key = (pair: { readonly server: string; readonly gitdeploy: string }): string =>
  `${pair.server} ${pair.gitdeploy}`;

/** Each pair's place in the plan. */
const indexOfPairs = (batches: readonly Batch[]): Map<string, Batch> =>
  new Map(batches.flatMap((batch) => batch.pairs.map((pair) => [key(pair), batch] as const)));

describe('for any groups and divisor, a plan', () => {
  it('is what the rules say, read word by word', () => {
    fc.assert(
      fc.property(targetGroups, anyDivisor, (groups, divisor) => {
        const expected = referencePlan(groups, divisor).map((batch) => ({
          slice: batch[0]?.slice,
          level: batch[0]?.level,
          pairs: batch.map(key).sort(),
        }));
        const actual = plan(groups, divisor).map(({ slice, level, pairs }) => ({
          slice,
          level,
          pairs: pairs.map(key).sort(),
        }));
        expect(actual).toEqual(expected);
      }),
      runs,
    );
  });

  it('has every pair of the groups exactly once and no other', () => {
    fc.assert(
      fc.property(targetGroups, anyDivisor, (groups, divisor) => {
        const planned = plan(groups, divisor).flatMap(({ pairs }) => pairs.map(key));
        expect(planned.sort()).toEqual(allPairs(groups).map(key).sort());
      }),
      runs,
    );
  });

  it('does not depend on the order of groups, servers, or gitdeploys within a level', () => {
    const withShuffled = targetGroups.chain((groups) =>
      fc.tuple(
        fc.constant(groups),
        fc
          .tuple(
            ...groups.map((group) =>
              fc.record({
                name: fc.constant(group.name),
                rolling: fc.constant(group.rolling),
                servers: shuffled(group.servers),
                levels: fc.tuple(...group.levels.map((level) => shuffled(level))),
              }),
            ),
          )
          .chain((each) => shuffled(each)),
      ),
    );
    fc.assert(
      fc.property(withShuffled, anyDivisor, ([groups, others], divisor) => {
        expect(plan(others, divisor)).toEqual(plan(groups, divisor));
      }),
      runs,
    );
  });

  it('never runs a pair before or beside an earlier level of its group on that server, unless another group raised that one', () => {
    fc.assert(
      fc.property(targetGroups, anyDivisor, (groups, divisor) => {
        const placeOf = indexOfPairs(plan(groups, divisor));
        for (const { group, server, gitdeploy, level } of places(groups)) {
          const batch = placeOf.get(key({ server, gitdeploy }));
          // Raised or not, a pair is never earlier than its own group wants it.
          expect(batch?.level).toBeGreaterThanOrEqual(level);
          if (batch?.level !== level) continue;
          for (const later of group.levels.slice(level + 1).flat()) {
            const laterIndex = placeOf.get(key({ server, gitdeploy: later }))?.index;
            // A group may name one gitdeploy at two levels; the pair is then at the later one itself.
            if (later !== gitdeploy) expect(laterIndex).toBeGreaterThan(batch.index);
          }
        }
      }),
      runs,
    );
  });

  it('has at most N slices and keeps all pairs of a server in one of them', () => {
    fc.assert(
      fc.property(targetGroups, anyDivisor, (groups, divisor) => {
        const batches = plan(groups, divisor);
        expect(new Set(batches.map(({ slice }) => slice)).size).toBeLessThanOrEqual(
          Math.max(1, divisor),
        );
        const sliceOf = new Map<string, number>();
        for (const { slice, pairs } of batches) {
          for (const { server } of pairs) {
            expect(sliceOf.get(server) ?? slice).toBe(slice);
            sliceOf.set(server, slice);
          }
        }
      }),
      runs,
    );
  });

  it('cuts the servers of a single rolling group contiguously, in sizes that differ by one at most', () => {
    const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 40 });
    fc.assert(
      fc.property(names, fc.nat({ max: 50 }), (servers, divisor) => {
        const group = { name: 'g', rolling: true, servers, levels: [['a']] };
        const slices = plan([group], divisor).map(({ pairs }) => pairs.map((pair) => pair.server));
        expect(slices).toEqual(slicesOf(group, divisor));
        expect(slices.flat()).toEqual([...servers].sort());
        const sizes = slices.map((slice) => slice.length);
        if (sizes.length > 0) expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(2);
      }),
      runs,
    );
  });

  it('numbers its batches without gaps, in the order of slice and level, none empty', () => {
    fc.assert(
      fc.property(targetGroups, anyDivisor, (groups, divisor) => {
        const batches = plan(groups, divisor);
        batches.forEach((batch, i) => {
          const before = batches[i - 1];
          expect(batch.index).toBe(i);
          expect(batch.pairs.length).toBeGreaterThan(0);
          if (before === undefined) return;
          const isLater =
            batch.slice > before.slice ||
            (batch.slice === before.slice && batch.level > before.level);
          expect(isLater).toBe(true);
        });
      }),
      runs,
    );
  });

  it('is ordered where the slice goes on, and pauses after every batch but the last', () => {
    fc.assert(
      fc.property(targetGroups, anyDivisor, (groups, divisor) => {
        const batches = plan(groups, divisor);
        batches.forEach((batch, i) => {
          const followers = batches.slice(i + 1);
          const goesOn = followers.some(({ slice }) => slice === batch.slice);
          const pauseBetween = goesOn ? 5 : 60;
          expect(batch.ordered).toBe(goesOn);
          expect(batch.pauseAfterSeconds).toBe(followers.length === 0 ? 0 : pauseBetween);
        });
      }),
      runs,
    );
  });
});

function shuffled<T>(items: readonly T[]): fc.Arbitrary<T[]> {
  return fc.shuffledSubarray([...items], { minLength: items.length, maxLength: items.length });
}

/** Every gitdeploy of every group at every level, on every server of the group. */
function places(groups: readonly TargetGroup[]): {
  readonly group: TargetGroup;
  readonly server: string;
  readonly gitdeploy: string;
  readonly level: number;
}[] {
  return groups.flatMap((group) =>
    group.servers.flatMap((server) =>
      group.levels.flatMap((gitdeploys, level) =>
        gitdeploys.map((gitdeploy) => ({ group, server, gitdeploy, level })),
      ),
    ),
  );
}
