import { compareCodeUnits } from './code-unit-order.ts';
import { getOrAdd } from './get-or-add.ts';
import type { GroupGitdeploys, GroupIndex } from './group-members.ts';
import { groupsHolding, indexGroups } from './group-members.ts';

/** How a server's clone stands to what was last deployed there. */
export type Drift = 'none' | 'modified' | 'moved' | 'unreachable' | 'unknown';

/** One installation: what is committed for a gitdeploy, and what is on one server. */
export interface CensusRow {
  readonly environment: string;
  readonly server: string;
  readonly gitdeploy: string;
  /** The build last committed to the gitdeploy's gitrepo branch. */
  readonly committed: string | null;
  /** The build that is now on the server. */
  readonly deployed: string | null;
}

/** What `details=true` adds to a row. */
export interface CensusDetailsRow extends CensusRow {
  readonly deployedCommit: string | null;
  /** ISO 8601, UTC. */
  readonly deployedAt: string | null;
  readonly deploymentId: string | null;
  readonly drift: Drift;
  /** When the drift was last looked at; ISO 8601, UTC. */
  readonly observedAt: string | null;
}

export interface CensusLeaf {
  readonly committed: string | null;
  readonly deployed: string | null;
}

/** Spelled as on the wire: the tree is a document that goes out as it is. */
export interface CensusDetailsLeaf extends CensusLeaf {
  readonly deployed_commit: string | null;
  readonly deployed_at: string | null;
  readonly deployment_id: string | null;
  readonly drift: Drift;
  readonly observed_at: string | null;
}

/** environment → group → server → gitdeploy → leaf. */
export type Census<Leaf> = Readonly<
  Record<string, Readonly<Record<string, Readonly<Record<string, CensusGitdeploys<Leaf>>>>>>
>;

export type CensusGitdeploys<Leaf> = Readonly<Record<string, Leaf>>;

/** Shows only what matches every name given; a name that nothing has leaves an empty tree. */
export interface CensusFilter {
  readonly environment?: string;
  /** A group's name, or `UNGROUPED`. */
  readonly group?: string;
  readonly server?: string;
}

/** What the census says of one server under one group. */
export interface CensusEntry<Leaf> {
  readonly environment: string;
  readonly group: string;
  readonly server: string;
  readonly gitdeploys: CensusGitdeploys<Leaf>;
}

/** Where pairs stand whose gitdeploy is in no group that holds the server. Never a group's name: those begin with a letter or digit. */
const UNGROUPED = '-';

export interface CensusOptions<Row extends CensusRow, Leaf> {
  /** All groups of the application, also when the filter names one: `-` depends on all. */
  readonly groups: Iterable<GroupGitdeploys>;
  readonly filter?: CensusFilter;
  /** `toLeaf` or `toDetailsLeaf`. */
  readonly leafOf: (row: Row) => Leaf;
}

/** A census that is made server by server, so that no more than one server's rows are held at a time. */
export interface CensusBuilder<Row extends CensusRow, Leaf> {
  /** Takes **all** rows of one server: which groups hold it depends on all its gitdeploys. */
  readonly addServer: (rows: readonly Row[]) => void;
  /** The tree of all servers added so far, its keys sorted. */
  readonly toTree: () => Census<Leaf>;
}

/**
 * The census of an application: what is committed and what is deployed, for every installation.
 *
 * Keys are sorted by code units, except that JavaScript puts keys that are whole numbers (`10`) before all
 * others. A pair stands under every group that has its gitdeploy and holds its server, or under `-`.
 * Source: API.md, "Applications".
 */
export function buildCensus<Row extends CensusRow, Leaf>(
  rows: Iterable<Row>,
  options: CensusOptions<Row, Leaf>,
): Census<Leaf> {
  const rowsOf = new Map<string, Row[]>();
  for (const row of rows) {
    getOrAdd(rowsOf, row.server, () => []).push(row);
  }
  const builder = startCensus(options);
  for (const ofServer of rowsOf.values()) builder.addServer(ofServer);
  return builder.toTree();
}

/** Begins a census that is fed server by server, in any order, for rows that are read in pages or streamed. */
export function startCensus<Row extends CensusRow, Leaf>(
  options: CensusOptions<Row, Leaf>,
): CensusBuilder<Row, Leaf> {
  const index = indexGroups(options.groups);
  const environments = new Map<string, Map<string, Map<string, CensusGitdeploys<Leaf>>>>();
  return {
    addServer: (rows) => {
      for (const entry of censusOfServer(rows, { ...options, index })) {
        const groups = getOrAdd(environments, entry.environment, () => new Map());
        const servers = getOrAdd(groups, entry.group, () => new Map());
        servers.set(entry.server, entry.gitdeploys);
      }
    },
    toTree: () =>
      toSortedObject(environments, (groups) =>
        toSortedObject(groups, (servers) => toSortedObject(servers, (gitdeploys) => gitdeploys)),
      ),
  };
}

/**
 * What the census says of one server, for callers that write their answer as they go.
 * @param rows all rows of one server
 * @returns one entry per group that holds the server, `-` first, then sorted by code units
 */
export function censusOfServer<Row extends CensusRow, Leaf>(
  rows: readonly Row[],
  options: Omit<CensusOptions<Row, Leaf>, 'groups'> & { readonly index: GroupIndex },
): CensusEntry<Leaf>[] {
  const { index, filter = {}, leafOf } = options;
  const [first] = rows;
  if (first === undefined) return [];
  const { environment, server } = first;
  if (!passes(filter.environment, environment) || !passes(filter.server, server)) return [];

  const holding = new Set(
    groupsHolding(
      index,
      rows.map((row) => row.gitdeploy),
    ),
  );
  const leavesOf = new Map<string, Map<string, Leaf>>();
  for (const row of rows) {
    const held = (index.groupsOf.get(row.gitdeploy) ?? []).filter((group) => holding.has(group));
    for (const group of held.length === 0 ? [UNGROUPED] : held) {
      if (!passes(filter.group, group)) continue;
      getOrAdd(leavesOf, group, () => new Map()).set(row.gitdeploy, leafOf(row));
    }
  }
  return sortedEntries(leavesOf).map(([group, leaves]) => ({
    environment,
    group,
    server,
    gitdeploys: toSortedObject(leaves, (leaf) => leaf),
  }));
}

/** The leaf of the plain census. */
export function toLeaf(row: CensusRow): CensusLeaf {
  return { committed: row.committed, deployed: row.deployed };
}

/** The leaf of the census with `details=true`. */
export function toDetailsLeaf(row: CensusDetailsRow): CensusDetailsLeaf {
  return {
    ...toLeaf(row),
    deployed_commit: row.deployedCommit,
    deployed_at: row.deployedAt,
    deployment_id: row.deploymentId,
    drift: row.drift,
    observed_at: row.observedAt,
  };
}

function passes(wanted: string | undefined, name: string): boolean {
  return wanted === undefined || wanted === name;
}

/** By way of entries, as a name may be `constructor`, which a plain object already seems to have. */
function toSortedObject<From, To>(
  map: ReadonlyMap<string, From>,
  convert: (value: From) => To,
): Record<string, To> {
  return Object.fromEntries(sortedEntries(map).map(([key, value]) => [key, convert(value)]));
}

function sortedEntries<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => compareCodeUnits(a, b));
}
