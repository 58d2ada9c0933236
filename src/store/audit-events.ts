import type { Db } from './database.ts';
import type { AuditEvent } from './generated/client.ts';
import { toJson } from './json.ts';

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
  const { before, after, ...columns } = event;
  await tx.auditEvent.create({
    data: {
      ...columns,
      ...(before === undefined ? {} : { before: toJson(before) }),
      ...(after === undefined ? {} : { after: toJson(after) }),
    },
  });
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
