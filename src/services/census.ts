import {
  type CensusDetailsLeaf,
  type CensusDetailsRow,
  type CensusFilter,
  type CensusLeaf,
  type CensusRow,
  type CensusWriter,
  startCensus,
  toDetailsLeaf,
  toLeaf,
  UNGROUPED,
} from '../domain/census.ts';
import { requireKnown } from '../domain/unknown-names.ts';
import { readCensus, readCensusDetails } from '../store/census.ts';
import type { Db } from '../store/database.ts';
import { listGroupGitdeploys } from '../store/groups.ts';
import { listInstallationPairs } from '../store/installations.ts';
import { listServerPlaces } from '../store/servers.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { visibleServers } from './authorization.ts';
import type { ServiceContext } from './context.ts';
import { requireApplication } from './lookup.ts';

export interface CensusQuery extends CensusFilter {
  readonly application: string;
  readonly details: boolean;
}

/**
 * What is committed and what runs, for every (server, gitdeploy) pair of an application at one moment, as JSON text.
 * Rows are read in pages and turned into text at once, so that no more is held than the answer itself.
 * @throws {AppError} `not_found` for the application; `invalid_input` for names in the filter that nothing has. What is
 *   there and has nothing of the application gives an empty tree.
 */
export async function getCensus(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { application: applicationName, details, ...filter }: CensusQuery,
): Promise<string> {
  const { db } = context.database;
  const { id: applicationId } = await requireApplication(db, applicationName);
  const found = await context.database.snapshot(async (snapshot) => {
    const groups = await listGroupGitdeploys(snapshot, applicationId);
    const options = { groups, filter };
    const { environment, server } = filter;
    const of = { applicationId, environment, server };
    const json = details
      ? await writeCensus(
          startCensus<CensusDetailsRow, CensusDetailsLeaf>({ ...options, leafOf: toDetailsLeaf }),
          readCensusDetails(snapshot, of),
        )
      : await writeCensus(
          startCensus<CensusRow, CensusLeaf>({ ...options, leafOf: toLeaf }),
          readCensus(snapshot, of),
        );
    return { json, groups: groups.map(({ name }) => name) };
  });
  if (found.json === '{}') {
    await requireKnownFilter(db, caller, { filter, applicationId, groups: found.groups });
  }
  return found.json;
}

async function writeCensus<Row extends CensusRow>(
  census: CensusWriter<Row>,
  pages: AsyncIterable<readonly (readonly Row[])[]>,
): Promise<string> {
  for await (const servers of pages) for (const rows of servers) census.addServer(rows);
  return census.toJson();
}

/** Says of what shows nothing whether that is because a name was mistaken. @throws {AppError} `invalid_input` */
async function requireKnownFilter(
  db: Db,
  caller: AuthenticatedCaller,
  of: {
    readonly filter: CensusFilter;
    readonly applicationId: string;
    readonly groups: readonly string[];
  },
): Promise<void> {
  const { environment, group, server } = of.filter;
  const asked = (name: string | undefined): string[] => (name === undefined ? [] : [name]);
  const isOfPlace = environment !== undefined || server !== undefined;
  const places = isOfPlace ? await listServerPlaces(db) : [];
  // Servers that the caller may not look at are no more known than others, unless the census shows them anyway.
  const seen = places.map(({ name }) => name).filter(visibleServers(caller));
  const shown =
    server === undefined || seen.includes(server)
      ? []
      : (await listInstallationPairs(db, of.applicationId)).map((pair) => pair.server);
  requireKnown({
    environments: { asked: asked(environment), known: places.map((p) => p.environment) },
    groups: { asked: asked(group), known: [...of.groups, UNGROUPED] },
    servers: { asked: asked(server), known: [...seen, ...shown] },
  });
}
