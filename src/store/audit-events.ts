import type { Db } from './database.ts';
import { type AuditEvent, Prisma } from './generated/client.ts';

export type AuditEventRow = AuditEvent;

export interface NewAuditEvent {
  readonly username: string;
  readonly remoteAddress: string | null;
  readonly requestId: string | null;
  readonly action: string;
  readonly application: string | null;
  readonly subject: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** Which events to list. What is undefined does not narrow. */
export interface AuditFilter {
  readonly username?: string | undefined;
  readonly application?: string | undefined;
  /** An action, or all of one noun: `server.*`. */
  readonly action?: string | undefined;
  /** The first moment that is in. */
  readonly since?: Date | undefined;
  /** The first moment that is no longer in. */
  readonly until?: Date | undefined;
  /** The id below which the page begins. */
  readonly after?: bigint | undefined;
}

export async function insertAuditEvent(tx: Db, event: NewAuditEvent): Promise<void> {
  const { before, after } = event;
  await tx.$executeRaw(auditInsert(event, { before: jsonText(before), after: jsonText(after) }));
}

/**
 * The statement that writes an event down; as a `with` query, a part of the statement that makes the change.
 * @param states what was and what is, as JSON; in a part of a statement an expression of its rows
 * @param from the rows of the statement, one of which there is an event for each. Default: one event
 */
export function auditInsert(
  event: Omit<NewAuditEvent, 'before' | 'after'>,
  states: { readonly before: Prisma.Sql; readonly after: Prisma.Sql },
  from: Prisma.Sql = Prisma.empty,
): Prisma.Sql {
  const { username, remoteAddress, requestId, action, application, subject } = event;
  return Prisma.sql`
    insert into audit_events
      (at, username, remote_address, request_id, action, application, subject, before, after)
    select clock_timestamp(), ${username}, ${remoteAddress}, ${requestId}, ${action},
           ${application}, ${subject}, ${states.before}, ${states.after} ${from}`;
}

/** A value as an expression of type `json`; what is undefined is no value. */
export function jsonText(value: unknown): Prisma.Sql {
  return Prisma.sql`${value === undefined ? null : JSON.stringify(value)}::json`;
}

/** Events, newest first, one more than `limit` to see whether there are more. */
export function listAuditEvents(
  db: Db,
  filter: AuditFilter,
  limit: number,
): Promise<AuditEventRow[]> {
  const { username, application, action, since, until, after } = filter;
  return db.auditEvent.findMany({
    where: {
      ...(username === undefined ? {} : { username }),
      ...(application === undefined ? {} : { application }),
      ...(action === undefined ? {} : { action: byAction(action) }),
      ...(after === undefined ? {} : { id: { lt: after } }),
      at: {
        ...(since === undefined ? {} : { gte: since }),
        ...(until === undefined ? {} : { lt: until }),
      },
    },
    orderBy: { id: 'desc' },
    take: limit + 1,
  });
}

/**
 * Deletes those of the `limit` first events that are from before `before`: ids grow with time, so it is never looked
 * through the whole audit. @returns how many; fewer than `limit` when no older ones are left
 */
export function deleteOldAuditEvents(
  db: Db,
  old: { readonly before: Date; readonly limit: number },
): Promise<number> {
  return db.$executeRaw`
    delete from audit_events
     where id in (select id from audit_events order by id limit ${old.limit}) and at < ${old.before}`;
}

function byAction(action: string): string | { startsWith: string } {
  return action.endsWith('.*') ? { startsWith: action.slice(0, -1) } : action;
}
