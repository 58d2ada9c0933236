import { compareCodeUnits, sortedUnique } from './code-unit-order.ts';
import { AppError } from './errors.ts';
import { getOrAdd } from './get-or-add.ts';

/** A gitdeploy on a server: the smallest thing that is deployed. */
export interface Pair {
  readonly server: string;
  readonly gitdeploy: string;
}

/** A group as a deployment targets it. */
export interface TargetGroup {
  /** Unique within a plan. */
  readonly name: string;
  readonly rolling: boolean;
  /** The group's servers that are in an environment that was asked for. */
  readonly servers: readonly string[];
  /** Names of gitdeploys; level 0 goes first. A flat group has one level. */
  readonly levels: readonly (readonly string[])[];
}

/** Pairs that are deployed at the same time. */
export interface Batch {
  /** Place in the plan, from 0, without gaps. */
  readonly index: number;
  /** As the rules number them: where a number is left out, its batch was empty. */
  readonly slice: number;
  /** As the groups number them: where a number is left out, its batch was empty. */
  readonly level: number;
  /** True if the next batch is of the same slice. */
  readonly ordered: boolean;
  /** How long to wait before the next batch; 0 after the last one. */
  readonly pauseAfterSeconds: number;
  /** Sorted by server, then by gitdeploy. Never empty. */
  readonly pairs: readonly Pair[];
  /** Whether it is of the canary. Default false. */
  readonly canary?: boolean;
  /** Whether a user must say yes to what comes after it. Default false. */
  readonly approvalAfter?: boolean;
}

export interface GroupPlanOptions {
  /** In any order; the plan does not depend on it. */
  readonly groups: readonly TargetGroup[];
  /** N: into how many slices each rolling group is cut at most. 0 is the same as 1. */
  readonly divisor: number;
  /** Whole seconds after the last batch of a slice. */
  readonly rollingPauseSeconds: number;
  /** Whole seconds between two batches of one slice. */
  readonly orderedPauseSeconds: number;
}

export interface ManualPlanOptions {
  readonly servers: readonly string[];
  readonly gitdeploys: readonly string[];
}

/**
 * Plans a group deployment: every (server, gitdeploy) pair of the groups in exactly one batch, in the order in
 * which the batches run.
 *
 * A server's slice comes from the first rolling group (by name) that has it, and is 0 if none has it; all its
 * pairs run in that slice. A pair's level is the highest that any group on its server gives it. Names sort by
 * code units. The work grows with the memberships of servers in groups and with the pairs of the plan.
 *
 * @returns no batches if no group has both a server and a gitdeploy
 * @throws {AppError} `invalid_input` if a number is not a whole one of at least 0, or two groups share a name
 * Source: API.md, "Batches".
 */
export function planGroupBatches(options: GroupPlanOptions): Batch[] {
  requireWholeNumber('rolling_divisor', options.divisor);
  requireWholeNumber('rolling_pause', options.rollingPauseSeconds);
  requireWholeNumber('ordered_pause', options.orderedPauseSeconds);
  const groups = sortGroups(options.groups);
  const servers = sortedUnique(serversOf(groups));
  const rankOf = new Map(servers.map((server, rank) => [server, rank]));

  const slices = new Uint32Array(servers.length);
  const hasSlice = new Uint8Array(servers.length);
  const groupsOfServer = servers.map((): number[] => []);
  for (const [groupIndex, group] of groups.entries()) {
    const ranks = sortedRanks(group.servers, rankOf);
    for (const rank of ranks) groupsOfServer[rank]?.push(groupIndex);
    if (!group.rolling) continue;
    for (const [slice, { start, end }] of cutIntoSlices(ranks.length, options.divisor).entries()) {
      for (const rank of ranks.subarray(start, end)) {
        if (hasSlice[rank] === 1) continue;
        hasSlice[rank] = 1;
        slices[rank] = slice;
      }
    }
  }

  const pairsBySlice = new Map<number, Map<number, Pair[]>>();
  const levelsCache = new Map<string, readonly GitdeployLevel[]>();
  for (const [rank, server] of servers.entries()) {
    const groupIndexes = groupsOfServer[rank] ?? [];
    // Servers that are in the same groups get the same gitdeploys at the same levels.
    const levels = getOrAdd(levelsCache, groupIndexes.join(), () =>
      highestLevels(groupIndexes.flatMap((index) => groups[index] ?? [])),
    );
    const pairsByLevel = getOrAdd(pairsBySlice, slices[rank] ?? 0, () => new Map<number, Pair[]>());
    for (const { gitdeploy, level } of levels) {
      getOrAdd(pairsByLevel, level, (): Pair[] => []).push({ server, gitdeploy });
    }
  }
  return toBatches(pairsBySlice, options);
}

/**
 * Plans a manual deployment: one batch with every gitdeploy on every server, without a pause.
 * @returns no batches if there is no server or no gitdeploy
 */
export function planManualBatches(options: ManualPlanOptions): Batch[] {
  const gitdeploys = sortedUnique(options.gitdeploys);
  const pairs = sortedUnique(options.servers).flatMap((server) =>
    gitdeploys.map((gitdeploy) => ({ server, gitdeploy })),
  );
  if (pairs.length === 0) return [];
  return [{ index: 0, slice: 0, level: 0, ordered: false, pauseAfterSeconds: 0, pairs }];
}

/** Half-open: from `start`, up to but without `end`. */
interface Range {
  readonly start: number;
  readonly end: number;
}

interface GitdeployLevel {
  readonly gitdeploy: string;
  readonly level: number;
}

/**
 * Cuts 0..length into at most `divisor` contiguous ranges at round(i·length/divisor), half away from zero.
 * More slices than servers give each server its own, so no range is empty and the work is bounded by `length`.
 */
function cutIntoSlices(length: number, divisor: number): Range[] {
  if (length === 0) return [];
  const count = Math.min(Math.max(divisor, 1), length);
  const cuts = Array.from({ length: count + 1 }, (_, i) => roundedQuotient(i * length, count));
  return cuts.slice(1).map((end, i) => ({ start: cuts[i] ?? 0, end }));
}

/** round(a/b), half up, in integers alone: i·(len/N) in floating point lands beside the half it should hit. */
function roundedQuotient(a: number, b: number): number {
  const doubled = 2 * a + b;
  return (doubled - (doubled % (2 * b))) / (2 * b);
}

/** The places of servers in the plan's sorted list, ascending, each once. */
function sortedRanks(
  servers: readonly string[],
  rankOf: ReadonlyMap<string, number>,
): Uint32Array<ArrayBuffer> {
  const ranks = new Set<number>();
  for (const server of servers) {
    const rank = rankOf.get(server);
    if (rank !== undefined) ranks.add(rank);
  }
  // Typed arrays sort by value, and much faster than strings.
  return Uint32Array.from(ranks).sort();
}

/** Every gitdeploy of the groups with the highest level that any of them gives it, sorted by gitdeploy. */
function highestLevels(groups: readonly TargetGroup[]): GitdeployLevel[] {
  const highest = new Map<string, number>();
  for (const group of groups) {
    for (const [level, gitdeploys] of group.levels.entries()) {
      for (const gitdeploy of gitdeploys) {
        highest.set(gitdeploy, Math.max(level, highest.get(gitdeploy) ?? 0));
      }
    }
  }
  return [...highest]
    .map(([gitdeploy, level]) => ({ gitdeploy, level }))
    .sort((a, b) => compareCodeUnits(a.gitdeploy, b.gitdeploy));
}

/** `ordered` and the pauses are read off the finished list, so an empty batch can never leave a pause behind. */
function toBatches(
  pairsBySlice: ReadonlyMap<number, ReadonlyMap<number, readonly Pair[]>>,
  pauses: Pick<GroupPlanOptions, 'rollingPauseSeconds' | 'orderedPauseSeconds'>,
): Batch[] {
  const places = byKey(pairsBySlice).flatMap(([slice, pairsByLevel]) =>
    byKey(pairsByLevel).map(([level, pairs]) => ({ slice, level, pairs })),
  );
  return places.map(({ slice, level, pairs }, index) => {
    const next = places[index + 1];
    const ordered = next?.slice === slice;
    const pause = ordered ? pauses.orderedPauseSeconds : pauses.rollingPauseSeconds;
    const pauseAfterSeconds = next === undefined ? 0 : pause;
    return { index, slice, level, ordered, pauseAfterSeconds, pairs };
  });
}

function sortGroups(groups: readonly TargetGroup[]): TargetGroup[] {
  const sorted = groups.toSorted((a, b) => compareCodeUnits(a.name, b.name));
  const twice = sorted.find((group, i) => group.name === sorted[i + 1]?.name);
  if (twice !== undefined) {
    throw new AppError(
      'invalid_input',
      `The group \`${twice.name}\` is targeted twice; name each group once.`,
      { details: { group: twice.name } },
    );
  }
  return sorted;
}

function* serversOf(groups: readonly TargetGroup[]): Generator<string> {
  for (const group of groups) yield* group.servers;
}

function requireWholeNumber(parameter: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new AppError(
    'invalid_input',
    `\`${parameter}\` is ${value}; give a whole number of at least 0.`,
    { details: { parameter, value: String(value) } },
  );
}

function byKey<V>(map: ReadonlyMap<number, V>): [number, V][] {
  return [...map].sort(([a], [b]) => a - b);
}
