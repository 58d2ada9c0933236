import type { RateLimit } from '../domain/rate-limit.ts';
import * as store from '../store/audit-events.ts';
import type { Db } from '../store/database.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';

export type AuditEvent = store.AuditEventRow;

/** Who is written down as having done it. */
export type Actor = Omit<Caller, 'userId'>;

/** Stands in place of a username where there is none: no user can be called that. */
export const NOBODY = '-';

/** What was changed. `before` and `after` are as the wire shows them, without secrets. */
export interface AuditedChange {
  /** Noun and verb: `server.create`, `deployment.cancel`. */
  readonly action: string;
  /** Name of the application it belongs to, or null. */
  readonly application: string | null;
  /** Name or id of what was changed. */
  readonly subject: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** Writes down who changed what, in the transaction of the change itself, so that neither is without the other. */
export async function recordAudit(tx: Db, actor: Actor, change: AuditedChange): Promise<void> {
  await store.insertAuditEvent(tx, auditOf(actor, change));
}

/** What is written down, for a change that is one statement and writes it down by itself. */
export function auditOf(actor: Actor, change: AuditedChange): store.NewAuditEvent {
  const { username, remoteAddress, requestId } = actor;
  return { username, remoteAddress, requestId, ...change };
}

/**
 * Writes down what was refused, unless the same user was refused something from the same address a moment ago:
 * whoever tries in a loop must not fill the disk.
 * @param throttle how often one user at one address is written down
 */
export async function recordRefusal(
  context: ServiceContext,
  throttle: RateLimit,
  actor: Actor,
  refusal: AuditedChange,
): Promise<void> {
  if (throttle.take(`${actor.username} ${actor.remoteAddress}`, Date.now()) > 0) return;
  try {
    await recordAudit(context.database.db, actor, refusal);
  } catch (error) {
    // The refusal stands all the same, and its caller must hear of it.
    context.log.warn({ err: error, action: refusal.action }, 'a refusal could not be written down');
  }
}

/** Events, newest first. */
export async function listAuditEvents(
  context: ServiceContext,
  filter: store.AuditFilter,
  limit: number,
): Promise<PageOf<AuditEvent>> {
  const rows = await store.listAuditEvents(context.database.db, filter, limit);
  return toPage(rows, limit, ({ id }) => String(id));
}
