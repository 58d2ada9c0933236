import type { z } from 'zod';
import type { AuditEvent } from '../../services/audit.ts';
import type { AuditEventList } from '../schemas/audit.ts';
import { toTime } from './time.ts';

export function toAuditEvent(event: AuditEvent): z.infer<typeof AuditEventList>['events'][number] {
  return {
    id: String(event.id),
    time: toTime(event.at),
    username: event.username,
    remote_address: event.remoteAddress,
    request_id: event.requestId,
    action: event.action,
    application: event.application,
    subject: event.subject,
    before: event.before,
    after: event.after,
  };
}
