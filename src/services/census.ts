import {
  type CensusDetailsLeaf,
  type CensusDetailsRow,
  type CensusFilter,
  type CensusLeaf,
  startCensus,
  toDetailsLeaf,
  toLeaf,
} from '../domain/census.ts';
import { listGroups } from '../store/groups.ts';
import { type CensusRow, readCensus } from '../store/installations.ts';
import type { ServiceContext } from './context.ts';
import { requireApplication } from './lookup.ts';

export interface CensusQuery extends CensusFilter {
  readonly details: boolean;
}

/**
 * What is committed and what runs, for every (server, gitdeploy) pair of an application, as JSON text. Rows are read
 * in pages and turned into text at once, so that no more is held than the answer itself.
 * @throws {AppError} `not_found` for the application; names in the filter that match nothing give an empty tree
 */
export async function getCensus(
  context: ServiceContext,
  applicationName: string,
  { details, ...filter }: CensusQuery,
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
  return census.toJson();
}

function toDomainRow(row: CensusRow): CensusDetailsRow {
  return {
    ...row,
    deployedAt: row.deployedAt?.toISOString() ?? null,
    observedAt: row.observedAt?.toISOString() ?? null,
  };
}
