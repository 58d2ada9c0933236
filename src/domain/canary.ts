import type { Batch, GroupPlanOptions, TargetGroup } from './batches.ts';
import { planGroupBatches, planManualBatches } from './batches.ts';
import { sortedUnique } from './code-unit-order.ts';

/** How large the first batch is that shows how a build does: `3` servers, or `10%` of them, rounded up. */
export const CANARY_PATTERN = /^(?:[1-9]\d{0,5}|(?:[1-9]\d?|100)%)$/;

/** A canary as a user gives it. */
export interface Canary {
  /** As in `CANARY_PATTERN`. */
  readonly size: string;
  /** Whole seconds between the canary and the rest. */
  readonly pauseSeconds: number;
}

/** @returns how many of `count` servers the canary takes; 0 if that would be all of them */
export function canarySize(size: string, count: number): number {
  const number = Number.parseInt(size, 10);
  const wanted = size.endsWith('%') ? Math.ceil((number * count) / 100) : number;
  return wanted < count ? wanted : 0;
}

type GroupPauses = Omit<GroupPlanOptions, 'groups'>;

/**
 * Plans a group deployment with a canary: its servers, the first by name of all that are targeted, go through all
 * their levels in slice 0; then the rest goes as without a canary, in slices from 1. A canary that would be of all
 * servers is none.
 */
export function planGroupCanary(
  groups: readonly TargetGroup[],
  options: GroupPauses,
  canary: Canary,
): Batch[] {
  const isCanary = chooseServers(
    groups.flatMap((group) => group.servers),
    canary,
  );
  const only = (wanted: boolean): TargetGroup[] =>
    groups.map((group) => ({
      ...group,
      servers: group.servers.filter((server) => isCanary(server) === wanted),
    }));
  const inOneSlice = only(true).map((group) => ({ ...group, rolling: false }));
  return join(
    planGroupBatches({ ...options, groups: inOneSlice }),
    planGroupBatches({ ...options, groups: only(false) }),
    canary,
  );
}

/** Plans a manual deployment with a canary: one batch of its servers, the first by name, and one of the others. */
export function planManualCanary(
  target: { readonly servers: readonly string[]; readonly gitdeploys: readonly string[] },
  canary: Canary,
): Batch[] {
  const isCanary = chooseServers(target.servers, canary);
  const only = (wanted: boolean): Batch[] =>
    planManualBatches({
      servers: target.servers.filter((server) => isCanary(server) === wanted),
      gitdeploys: target.gitdeploys,
    });
  return join(only(true), only(false), canary);
}

function chooseServers(servers: readonly string[], canary: Canary): (server: string) => boolean {
  const all = sortedUnique(servers);
  const chosen = new Set(all.slice(0, canarySize(canary.size, all.length)));
  return (server) => chosen.has(server);
}

function join(first: readonly Batch[], rest: readonly Batch[], canary: Canary): Batch[] {
  if (first.length === 0) return [...rest];
  const canaries = first.map((batch, index) => ({
    ...batch,
    canary: true,
    pauseAfterSeconds: index === first.length - 1 ? canary.pauseSeconds : batch.pauseAfterSeconds,
  }));
  const others = rest.map((batch) => ({
    ...batch,
    index: batch.index + first.length,
    slice: batch.slice + 1,
  }));
  return [...canaries, ...others];
}
