import { sortedUnique } from './code-unit-order.ts';
import { getOrAdd } from './get-or-add.ts';

/** A group as far as membership goes. */
export interface GroupGitdeploys {
  readonly name: string;
  /** All its gitdeploys, whatever their level. */
  readonly gitdeploys: readonly string[];
}

/** A gitdeploy that is initialized on a server. */
export interface InstalledPair {
  readonly server: string;
  readonly gitdeploy: string;
}

/** Tells which groups hold a server. Made once per application by `indexGroups`. */
export interface GroupIndex {
  /** How many distinct gitdeploys each group has. */
  readonly sizes: ReadonlyMap<string, number>;
  readonly groupsOf: ReadonlyMap<string, readonly string[]>;
}

/** Prepares `groupsHolding`. Two groups of one name count as one that has the gitdeploys of both. */
export function indexGroups(groups: Iterable<GroupGitdeploys>): GroupIndex {
  const gitdeploysOf = new Map<string, Set<string>>();
  const groupsOf = new Map<string, string[]>();
  for (const group of groups) {
    const known = getOrAdd(gitdeploysOf, group.name, () => new Set());
    for (const gitdeploy of group.gitdeploys) {
      if (known.has(gitdeploy)) continue;
      known.add(gitdeploy);
      getOrAdd(groupsOf, gitdeploy, () => []).push(group.name);
    }
  }
  const sizes = new Map([...gitdeploysOf].map(([name, gitdeploys]) => [name, gitdeploys.size]));
  return { sizes, groupsOf };
}

/**
 * The groups that hold a server: those of which **all** gitdeploys are initialized on it. A group without
 * gitdeploys holds no server. The work grows with the server's gitdeploys, not with all groups.
 *
 * @param gitdeploys what is initialized on the server
 * @returns names, sorted by code units
 * Source: API.md, "Groups".
 */
export function groupsHolding(index: GroupIndex, gitdeploys: Iterable<string>): string[] {
  const found = new Map<string, number>();
  for (const gitdeploy of new Set(gitdeploys)) {
    for (const group of index.groupsOf.get(gitdeploy) ?? []) {
      found.set(group, (found.get(group) ?? 0) + 1);
    }
  }
  return sortedUnique(
    [...found].filter(([name, n]) => n === index.sizes.get(name)).map(([g]) => g),
  );
}

/**
 * The servers of every group.
 * @returns each group's servers, sorted by code units; a group without servers has an empty list
 */
export function groupMembers(
  groups: readonly GroupGitdeploys[],
  installations: Iterable<InstalledPair>,
): Map<string, string[]> {
  const gitdeploysOf = new Map<string, string[]>();
  for (const { server, gitdeploy } of installations) {
    getOrAdd(gitdeploysOf, server, () => []).push(gitdeploy);
  }
  const index = indexGroups(groups);
  const members = new Map(groups.map((group): [string, string[]] => [group.name, []]));
  for (const server of sortedUnique(gitdeploysOf.keys())) {
    for (const group of groupsHolding(index, gitdeploysOf.get(server) ?? [])) {
      members.get(group)?.push(server);
    }
  }
  return members;
}
