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
  /** The build that it has missed, as the server was left out of a deployment. */
  readonly behind: string | null;
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
  readonly behind: string | null;
}

/** Shows only what matches every name given; a name that nothing has leaves an empty tree. */
export interface CensusFilter {
  readonly environment?: string;
  /** A group's name, or `UNGROUPED`. */
  readonly group?: string;
  readonly server?: string;
}

/** Where pairs stand whose gitdeploy is in no group that holds the server. Never a group's name: those begin with a letter or digit. */
export const UNGROUPED = '-';

export interface CensusOptions<Row extends CensusRow, Leaf> {
  /** All groups of the application, also when the filter names one: `-` depends on all. */
  readonly groups: Iterable<GroupGitdeploys>;
  readonly filter?: CensusFilter;
  /** `toLeaf` or `toDetailsLeaf`. */
  readonly leafOf: (row: Row) => Leaf;
}

/**
 * The census of an application as JSON, made server by server: of the servers that were added it holds their part
 * of the document, and no rows.
 */
export interface CensusWriter<Row extends CensusRow> {
  /** Takes **all** rows of one server: which groups hold it depends on all its gitdeploys. */
  readonly addServer: (rows: readonly Row[]) => void;
  /** environment → group → server → gitdeploy → leaf, of all servers added so far, sorted by code units. */
  readonly toJson: () => string;
}

/**
 * Begins the census of an application: what is committed and what is deployed, for every installation. Servers come
 * in any order, as rows are read in pages. A pair stands under every group that has its gitdeploy and holds its
 * server, or under `-`. Source: API.md, "Applications".
 */
export function startCensus<Row extends CensusRow, Leaf>(
  options: CensusOptions<Row, Leaf>,
): CensusWriter<Row> {
  const { groups: allGroups, filter = {}, leafOf } = options;
  const index = indexGroups(allGroups);
  const environments = new Map<string, Map<string, Map<string, string>>>();
  // One server mostly has the gitdeploys of the one before.
  let places: Places = { gitdeploys: '', groups: [] };
  return {
    addServer: (rows) => {
      const [first] = rows;
      if (first === undefined) return;
      const { environment, server } = first;
      if (!passes(filter.environment, environment) || !passes(filter.server, server)) return;
      const gitdeploys = rows.map((row) => row.gitdeploy);
      const joined = gitdeploys.join('/');
      if (joined !== places.gitdeploys) {
        places = { gitdeploys: joined, groups: placesOf(gitdeploys, index, filter) };
      }
      const texts = rows.map((row) => JSON.stringify(leafOf(row)));
      for (const { group, members } of places.groups) {
        const groups = getOrAdd(environments, environment, () => new Map());
        const leaves = members.map(({ row, key }) => key + texts[row]);
        getOrAdd(groups, group, () => new Map()).set(server, `{${leaves.join(',')}}`);
      }
    },
    toJson: () =>
      toJsonObject(environments, (groups) =>
        toJsonObject(groups, (servers) => toJsonObject(servers, (text) => text)),
      ),
  };
}

/** Where what a server has stands in the document. */
interface Places {
  /** What it has, joined by what no name has; as the rows come. */
  readonly gitdeploys: string;
  readonly groups: readonly GroupPlaces[];
}

/** Under one group: the rows by their index, sorted by gitdeploy, each with its key. */
interface GroupPlaces {
  readonly group: string;
  readonly members: readonly { readonly row: number; readonly key: string }[];
}

/** Under each group that holds the server, or under `-`. */
function placesOf(
  gitdeploys: readonly string[],
  index: GroupIndex,
  filter: CensusFilter,
): GroupPlaces[] {
  const holding = new Set(groupsHolding(index, gitdeploys));
  const rowsOf = new Map<string, Map<string, number>>();
  for (const [row, gitdeploy] of gitdeploys.entries()) {
    const held = (index.groupsOf.get(gitdeploy) ?? []).filter((group) => holding.has(group));
    for (const group of held.length === 0 ? [UNGROUPED] : held) {
      if (!passes(filter.group, group)) continue;
      getOrAdd(rowsOf, group, () => new Map()).set(gitdeploy, row);
    }
  }
  return [...rowsOf].map(([group, rows]) => ({
    group,
    members: sortedEntries(rows).map(([gitdeploy, row]) => ({
      row,
      key: `${JSON.stringify(gitdeploy)}:`,
    })),
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
    behind: row.behind,
  };
}

function passes(wanted: string | undefined, name: string): boolean {
  return wanted === undefined || wanted === name;
}

/** By hand, as an object would put keys that are whole numbers before all others. */
function toJsonObject<From>(
  map: ReadonlyMap<string, From>,
  toJson: (value: From) => string,
): string {
  const members = sortedEntries(map).map(
    ([key, value]) => `${JSON.stringify(key)}:${toJson(value)}`,
  );
  return `{${members.join(',')}}`;
}

function sortedEntries<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => compareCodeUnits(a, b));
}
