import { insertAuditEvent } from '../store/audit-events.ts';
import type { Db } from '../store/database.ts';
import type { Caller } from './context.ts';

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
export async function recordAudit(tx: Db, caller: Caller, change: AuditedChange): Promise<void> {
  await insertAuditEvent(tx, {
    username: caller.username,
    remoteAddress: caller.remoteAddress,
    requestId: caller.requestId,
    ...change,
  });
}
