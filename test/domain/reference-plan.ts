import type { TargetGroup } from '../../src/domain/batches.ts';

/** A pair with its place, as the rules' text gives it. */
export interface PlacedPair {
  readonly server: string;
  readonly gitdeploy: string;
  readonly slice: number;
  readonly level: number;
}

/**
 * The batches of API.md §Batches, sentence by sentence and without any thought of speed: what the planner is
 * compared with. It shares no code with the planner.
 */
export function referencePlan(groups: readonly TargetGroup[], divisor: number): PlacedPair[][] {
  const placed: PlacedPair[] = [];
  for (const { server, gitdeploy } of allPairs(groups)) {
    placed.push({
      server,
      gitdeploy,
      slice: sliceOf(server, groups, divisor),
      level: levelOf(server, gitdeploy, groups),
    });
  }
  const lastSlice = Math.max(0, ...placed.map((pair) => pair.slice));
  const lastLevel = Math.max(0, ...placed.map((pair) => pair.level));
  const batches: PlacedPair[][] = [];
  for (let slice = 0; slice <= lastSlice; slice += 1) {
    for (let level = 0; level <= lastLevel; level += 1) {
      const batch = placed.filter((pair) => pair.slice === slice && pair.level === level);
      if (batch.length > 0) batches.push(batch);
    }
  }
  return batches;
}

/** Every pair that a group targets, once. */
export function allPairs(groups: readonly TargetGroup[]): { server: string; gitdeploy: string }[] {
  const pairs: { server: string; gitdeploy: string }[] = [];
  for (const group of groups) {
    for (const server of group.servers) {
      for (const gitdeploy of group.levels.flat()) {
        const known = pairs.some((pair) => pair.server === server && pair.gitdeploy === gitdeploy);
        if (!known) pairs.push({ server, gitdeploy });
      }
    }
  }
  return pairs;
}

/** A rolling group's servers as it cuts them, before any other group takes some away. */
export function slicesOf(group: TargetGroup, divisor: number): string[][] {
  const sorted = [...new Set(group.servers)].sort();
  const n = divisor < 2 ? 1 : divisor;
  const slices: string[][] = [];
  for (let i = 0; i < n; i += 1) {
    const slice = sorted.slice(cut(i, sorted.length, n), cut(i + 1, sorted.length, n));
    if (slice.length > 0) slices.push(slice);
  }
  return slices;
}

/** round(i·len/N), half away from zero, as taught at school: division with remainder. */
function cut(i: number, length: number, n: number): number {
  const product = BigInt(i) * BigInt(length);
  const quotient = product / BigInt(n);
  const remainder = product % BigInt(n);
  return Number(remainder * 2n >= BigInt(n) ? quotient + 1n : quotient);
}

function sliceOf(server: string, groups: readonly TargetGroup[], divisor: number): number {
  const rolling = groups.filter((group) => group.rolling && group.servers.includes(server));
  const byName = rolling.sort((a, b) => (a.name < b.name ? -1 : 1));
  const [first] = byName;
  if (first === undefined) return 0;
  return slicesOf(first, divisor).findIndex((slice) => slice.includes(server));
}

function levelOf(server: string, gitdeploy: string, groups: readonly TargetGroup[]): number {
  const levels: number[] = [];
  for (const group of groups) {
    if (!group.servers.includes(server)) continue;
    group.levels.forEach((gitdeploys, level) => {
      if (gitdeploys.includes(gitdeploy)) levels.push(level);
    });
  }
  return Math.max(...levels);
}
