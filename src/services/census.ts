import {
  type CensusDetailsLeaf,
  type CensusDetailsRow,
  type CensusFilter,
  type CensusLeaf,
  startCensus,
  toDetailsLeaf,
  toLeaf,
  UNGROUPED,
} from '../domain/census.ts';
import { requireKnown } from '../domain/unknown-names.ts';
import type { Db } from '../store/database.ts';
import { listGroups } from '../store/groups.ts';
import { type CensusRow, listInstallationPairs, readCensus } from '../store/installations.ts';
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
 * What is committed and what runs, for every (server, gitdeploy) pair of an application, as JSON text. Rows are read
 * in pages and turned into text at once, so that no more is held than the answer itself.
 * @throws {AppError} `not_found` for the application; `invalid_input` for names in the filter that nothing has. What is
 *   there and has nothing of the application gives an empty tree.
 */
export async function getCensus(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { application: applicationName, details, ...filter }: CensusQuery,
): Promise<string> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  const groups = await listGroups(db, application.id, {});
  const census = startCensus<CensusDetailsRow, CensusLeaf | CensusDetailsLeaf>({
    groups: groups.map(({ name, levels }) => ({ name, gitdeploys: levels.flat() })),
    filter,
    leafOf: details ? toDetailsLeaf : toLeaf,
  });
  let ofServer: CensusDetailsRow[] = [];
  const query = {
    applicationId: application.id,
    environment: filter.environment,
    server: filter.server,
  };
  for await (const page of readCensus(db, query)) {
    for (const row of page) {
      // Rows come sorted by server; a server is complete when the next one begins.
      if (ofServer[0] !== undefined && ofServer[0].server !== row.server) {
        census.addServer(ofServer);
        ofServer = [];
      }
      ofServer.push(toDomainRow(row));
    }
  }
  census.addServer(ofServer);
  const json = census.toJson();
  if (json === '{}') {
    await requireKnownFilter(db, caller, {
      filter,
      applicationId: application.id,
      groups: groups.map(({ name }) => name),
    });
  }
  return json;
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

function toDomainRow(row: CensusRow): CensusDetailsRow {
  return {
    ...row,
    deployedAt: row.deployedAt?.toISOString() ?? null,
    observedAt: row.observedAt?.toISOString() ?? null,
  };
}
