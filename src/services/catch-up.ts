import { requireKnown } from '../domain/unknown-names.ts';
import { lockApplication } from '../store/applications.ts';
import { type CatchUp, startCatchUps } from '../store/catch-up.ts';
import { listServerPlaces } from '../store/servers.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers, visibleServers } from './authorization.ts';
import type { ServiceContext } from './context.ts';
import { ringJob } from './jobs.ts';
import { requireApplication } from './lookup.ts';

export type { CatchUp };

/**
 * Has servers get what deployments of an application have left out there because they could not be reached.
 * @param of.server only this one
 * @returns one deployment for each that servers were left out of; none if no server is behind, or what they have missed
 *   is under way
 * @throws {AppError} `not_found`; `invalid_input` for an unknown server; `forbidden` if any server concerned may not be
 *   touched by the caller, and nothing is started then
 */
export async function catchUp(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  of: { readonly application: string; readonly server?: string },
): Promise<CatchUp[]> {
  const { database } = context;
  const { id: applicationId, name: application } = await requireApplication(
    database.db,
    of.application,
  );
  const only =
    of.server === undefined ? {} : { serverId: await findOne(context, caller, of.server) };
  const started = await database.transaction(async (tx) => {
    await lockApplication(tx, applicationId);
    const catchUps = await startCatchUps(tx, { applicationId, application, ...only }, caller);
    // By what was started: servers may come to be behind at any moment. A refusal takes all of it back.
    requireServers(
      caller,
      catchUps.flatMap(({ servers }) => servers),
    );
    return catchUps;
  });
  for (const { job } of started) await ringJob(context, job);
  return started;
}

/** @returns the id */
async function findOne(
  { database: { db } }: ServiceContext,
  caller: AuthenticatedCaller,
  name: string,
): Promise<string> {
  // Permissions first: to who may not touch a server it makes no difference whether it exists.
  requireServers(caller, [name]);
  const isVisible = visibleServers(caller);
  const places = (await listServerPlaces(db)).filter((place) => isVisible(place.name));
  requireKnown({ servers: { asked: [name], known: places.map((place) => place.name) } });
  return places.find((place) => place.name === name)?.id ?? '';
}
