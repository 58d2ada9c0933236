import { randomUUID } from 'node:crypto';
import type { Drift } from '../domain/census.ts';
import type { ErrorBody } from '../domain/errors.ts';
import {
  type FoundInstallation,
  isWorthTelling,
  serverNoticesOf,
} from '../domain/server-notices.ts';
import { hearsOf } from '../domain/webhook-events.ts';
import { toMessageError } from '../domain/webhook-payload.ts';
import type { Db } from './database.ts';
import { notify } from './events.ts';
import { DELIVERY_TOPIC, insertDeliveries } from './webhook-notices.ts';

/** How an installation stands, and how it stood before. */
export interface DriftChange {
  /** Of the installation. */
  readonly id: string;
  readonly was: Drift;
  readonly drift: Drift;
}

/** What was found out about a server. */
export interface ServerFinding {
  readonly changes: readonly DriftChange[];
  /** Whether somebody looked, and not a deployment, which tells of drift itself. */
  readonly byLook: boolean;
  /** Why the server cannot be looked at. */
  readonly error?: ErrorBody;
}

/** A webhook that may want to hear of the server; its application is null if it is for all. */
interface Listening {
  readonly id: string;
  readonly events: string[];
  readonly application: string | null;
}

interface Place extends Omit<FoundInstallation, 'was'> {
  readonly id: string;
  readonly server: string;
  readonly environment: string;
}

/** Installations in one message at most. */
const MAX_TOLD = 100;

/**
 * Records what webhooks are to hear of a server: those of an application only about its own installations there.
 * @param tx the transaction in which the rows have changed already
 */
export async function recordServerNotices(
  tx: Db,
  serverId: string,
  { changes, byLook, error }: ServerFinding,
): Promise<void> {
  if (!isWorthTelling(changes, byLook)) return;
  // Held until the end of the transaction: one that is being deleted must not be written to.
  const listening = await tx.$queryRaw<Listening[]>`
    select w.id::text, w.events, a.name as application
      from webhooks w
      left join applications a on a.id = w.application_id
     where w.active and (w.application_id is null or exists (
             select 1 from installations i join gitdeploys g on g.id = i.gitdeploy_id
              where i.server_id = ${serverId}::uuid and g.application_id = w.application_id))
       for key share of w`;
  if (listening.length === 0) return;
  const places = await tx.$queryRaw<Place[]>`
    select i.id::text, i.drift::text as drift, a.name as application, g.name as gitdeploy, g.path,
           s.name as server, s.environment
      from installations i
      join servers s on s.id = i.server_id
      join gitdeploys g on g.id = i.gitdeploy_id
      join applications a on a.id = g.application_id
     where i.server_id = ${serverId}::uuid
     order by a.name collate "C", g.name collate "C"`;
  const [first] = places;
  if (first === undefined) return;
  const before = new Map(changes.map(({ id, was }) => [id, was]));
  const found = places.map((place) => ({ ...place, was: before.get(place.id) ?? place.drift }));
  const time = new Date().toISOString();
  const server = { name: first.server, environment: first.environment };
  const ids = new Map<string, string>();
  const deliveries = listening.flatMap(({ id: webhookId, events, application }) =>
    serverNoticesOf(
      found.filter((one) => application === null || one.application === application),
      byLook,
    )
      .filter(({ event }) => hearsOf(events, event))
      .map(({ event, about }) => {
        const id = ids.get(event) ?? randomUUID();
        ids.set(event, id);
        const data = {
          gitdeploys: about.slice(0, MAX_TOLD).map(toTold),
          ...toReason(event, error),
        };
        return {
          webhookId,
          payload: { id, event, time, application, server, data },
          resendOfId: null,
        };
      }),
  );
  if (deliveries.length === 0) return;
  await insertDeliveries(tx, deliveries);
  await notify(tx, DELIVERY_TOPIC);
}

function toTold({ application, gitdeploy, path, was, drift }: FoundInstallation): object {
  return { application, gitdeploy, path, drift, drift_before: was };
}

function toReason(event: string, error: ErrorBody | undefined): { error?: unknown } {
  return event === 'server.unreachable' ? { error: toMessageError(error) } : {};
}
