import type { Db, Statements } from './database.ts';
import type { Event } from './generated/client.ts';
import { Prisma } from './generated/client.ts';
import { DELIVERY_TOPIC, recordNotices } from './webhook-notices.ts';

export type EventRow = Event;

export interface NewEvent {
  readonly jobId: string | null;
  readonly deploymentId: string | null;
  readonly kind: string;
  readonly data: unknown;
}

/** The channel on which PostgreSQL tells all processes that there is something new to read. */
export const EVENT_CHANNEL = 'muster_events';

/** Any fixed number: it keeps the locks of streams apart from other advisory locks. */
const STREAM_LOCKS = 7_110_001;

/**
 * Appends an event and wakes whoever waits for its job or deployment, in whatever process.
 *
 * Numbers are handed out before the commit, so without a lock a reader could see number 8, go on from there, and
 * never see number 7 of a slower transaction. Therefore appending to one stream is done by one transaction at a
 * time. A stream is a deployment with its jobs, or else a job: every event of a deployment's job names the
 * deployment, so one lock guards both streams that the event is read in.
 *
 * Inside a transaction append last, after all rows have been changed: that order, kept by all, cannot deadlock.
 */
export async function appendEvent(db: Db, event: NewEvent): Promise<void> {
  await appendEvents(db, [event]);
}

/**
 * Appends events of one stream, in order, at the price of one. What webhooks are to hear of them is recorded with them:
 * in one transaction, that both are kept or neither is.
 */
export async function appendEvents(db: Db, events: readonly NewEvent[]): Promise<void> {
  const [first] = events;
  if (first === undefined) return;
  const stream = streamOf(first);
  const topics = new Set<string>();
  if (await recordNotices(db, events)) topics.add(DELIVERY_TOPIC);
  const rows = events.map((event) => {
    if (streamOf(event) !== stream) throw new Error('events of two streams were appended at once');
    if (event.jobId !== null) topics.add(event.jobId);
    if (event.deploymentId !== null) topics.add(event.deploymentId);
    return Prisma.sql`(${event.jobId}::uuid, ${event.deploymentId}::uuid, ${event.kind}, ${JSON.stringify(event.data ?? null)}::json)`;
  });
  // The lock is taken before the first number: its row is what the insert is fed from.
  await db.$executeRaw`
    with stream as materialized (
      select pg_advisory_xact_lock(${STREAM_LOCKS}, hashtext(${stream})) as locked),
    appended as (
      insert into events (job_id, deployment_id, kind, data)
      select e.job_id, e.deployment_id, e.kind, e.data
        from stream, (values ${Prisma.join(rows)}) as e (job_id, deployment_id, kind, data)
       where stream.locked is not null
      returning 1)
    select pg_notify(${EVENT_CHANNEL}, topic)
      from unnest(${[...topics]}::text[]) as topic where exists (select from appended)`;
}

function streamOf(event: NewEvent): string {
  return event.deploymentId ?? event.jobId ?? '';
}

/** Wakes whoever waits for `topic`, once the transaction is committed. */
export async function notify(db: Db, topic: string): Promise<void> {
  await db.$executeRaw`select pg_notify(${EVENT_CHANNEL}, ${topic})`;
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

/** Whose events are read. */
export type EventSubject =
  | { readonly kind: 'job'; readonly id: string }
  | { readonly kind: 'deployment'; readonly id: string };

/** What a stream has to tell next. */
export interface EventPage {
  /** Of the job or deployment, as it was when the events were read: if that is its last one, no event is missing. */
  readonly status: string;
  /** Whether there may be more already; false if these were all. */
  readonly isFull: boolean;
  readonly events: readonly EventText[];
}

/** An event as it only goes on. */
export interface EventText {
  readonly id: string;
  readonly kind: string;
  /** What the event tells, as JSON in one line. */
  readonly json: string;
}

type PageRow = { readonly status: string } & (EventText | { readonly id: null });

/**
 * Reads events together with the status of what they are about, in one look.
 * @param page.limit events at most
 * @param page.limitBytes no further event is added to so many bytes of JSON
 * @returns null if there is no such job or deployment
 */
export async function readEventPage(
  database: Statements,
  subject: EventSubject,
  page: { after: bigint; limit: number; limitBytes: number },
): Promise<EventPage | null> {
  const { after, limit, limitBytes } = page;
  const subjects =
    subject.kind === 'job'
      ? { table: Prisma.sql`jobs`, column: Prisma.sql`job_id` }
      : { table: Prisma.sql`deployments`, column: Prisma.sql`deployment_id` };
  const rows = await database.statement<PageRow>(Prisma.sql`
    select s.status::text as status, e.id, e.kind, e.json
      from ${subjects.table} s left join lateral (
        select id, kind, json, sum(octet_length(json)) over (order by id rows unbounded preceding) as bytes
          from (select id, kind, data::text as json from events
                 where ${subjects.column} = s.id and id > ${after} order by id limit ${limit}) as next
        ) e on e.bytes - octet_length(e.json) < ${limitBytes}
     where s.id = ${subject.id}::uuid order by e.id`);
  const [first] = rows;
  if (first === undefined) return null;
  const events = rows.flatMap((row) => (row.id === null ? [] : inOneLine(row)));
  return {
    status: first.status,
    isFull: events.length === limit || countBytes(events) >= limitBytes,
    events,
  };
}

const LINE_BREAK = /[\n\r]/g;

/** Whoever appended an event has written it in one line, whoever changed it by hand may not have. */
function inOneLine(event: EventText): EventText {
  const { id, kind, json } = event;
  if (!json.includes('\n') && !json.includes('\r')) return event;
  return { id, kind, json: json.replaceAll(LINE_BREAK, ' ') };
}

function countBytes(events: readonly EventText[]): number {
  return events.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0);
}

/** How many different things a job has told, beside what it printed and how it ended: how far it has got. */
export async function countTold(db: Db, jobId: string): Promise<number> {
  const [row] = await db.$queryRaw<{ count: number }[]>`
    select count(distinct (kind, data::text))::int as count from events
     where job_id = ${jobId}::uuid and kind <> 'output' and kind not like 'job\\_%'`;
  return row?.count ?? 0;
}

/** Deletes up to `limit` events of one kind that deployments told before `before`. @returns how many */
export function deleteOldDeploymentEvents(
  db: Db,
  old: { kind: string; before: Date; limit: number },
): Promise<number> {
  return db.$executeRaw`
    delete from events where id in (
      select e.id from events e
       where e.deployment_id is not null and e.kind = ${old.kind} and e.created_at < ${old.before}
       order by e.id limit ${old.limit})`;
}
