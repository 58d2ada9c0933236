import type { z } from 'zod';
import type { Delivery, WebhookPlace } from '../../services/webhook-deliveries.ts';
import type { Webhook } from '../../services/webhooks.ts';
import type * as schemas from '../schemas/webhooks.ts';
import { toTime, toTimeOrNull } from './time.ts';

/** Names what goes out one by one, so that no secret ever does but the one that was made for this reply. */
export function toWebhook(
  webhook: Webhook,
  secret: string | null = null,
): z.infer<typeof schemas.Webhook> {
  return {
    ...ofApplication(webhook.application),
    name: webhook.name,
    kind: webhook.kind,
    url: webhook.urlOrigin,
    events: [...webhook.events],
    signed: webhook.isSigned,
    active: webhook.active,
    created_datetime: toTime(webhook.createdAt),
    ...(secret === null ? {} : { secret }),
  };
}

export function toWebhookDelivery(
  { owner, webhook }: WebhookPlace,
  delivery: Delivery,
): z.infer<typeof schemas.WebhookDelivery> {
  return {
    ...ofApplication(owner),
    webhook,
    id: delivery.id,
    event: delivery.event,
    status: delivery.status,
    attempts: delivery.attempts,
    next_attempt_at: toTimeOrNull(delivery.nextAttemptAt),
    response_status: delivery.responseStatus,
    error: delivery.error,
    resend_of: delivery.resendOfId,
    created_datetime: toTime(delivery.createdAt),
    delivered_at: toTimeOrNull(delivery.deliveredAt),
    payload: delivery.payload,
  };
}

/** What says of which application something is; nothing for what holds for all. */
export function ofApplication(owner: string | null): { application?: string } {
  return owner === null ? {} : { application: owner };
}
