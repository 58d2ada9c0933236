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
