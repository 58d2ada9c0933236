import type { Db } from './database.ts';
import type { Event } from './generated/client.ts';

export type EventRow = Event;

export interface NewEvent {
  readonly jobId: string | null;
  readonly deploymentId: string | null;
  readonly kind: string;
  readonly data: unknown;
}

/** The channel on which PostgreSQL tells all processes that there is something new to read. */
export const EVENT_CHANNEL = 'muster_events';

/** Appends an event and wakes whoever waits for its job or deployment, in whatever process. */
export async function appendEvent(db: Db, event: NewEvent): Promise<void> {
  await db.$executeRaw`
    with e as (
      insert into events (job_id, deployment_id, kind, data)
      values (${event.jobId}::uuid, ${event.deploymentId}::uuid, ${event.kind}, ${JSON.stringify(event.data)}::json)
      returning 1)
    select pg_notify(${EVENT_CHANNEL}, ${event.jobId ?? event.deploymentId ?? ''}) from e`;
}

/** The events of a job after the event `after`, in order. */
export function listJobEvents(
  db: Db,
  jobId: string,
  after: bigint = 0n,
  limit = 1000,
): Promise<EventRow[]> {
  return db.event.findMany({
    where: { jobId, id: { gt: after } },
    orderBy: { id: 'asc' },
    take: limit,
  });
}

/** Whether a deployment has told an event of this kind. */
export async function hasDeploymentEvent(
  db: Db,
  deploymentId: string,
  kind: string,
): Promise<boolean> {
  return (
    (await db.event.findFirst({ where: { deploymentId, kind }, select: { id: true } })) !== null
  );
}
