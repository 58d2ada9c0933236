import { randomUUID } from 'node:crypto';
import { AppError } from '../domain/errors.ts';
import { PING_EVENT } from '../domain/webhook-events.ts';
import * as store from '../store/webhook-deliveries.ts';
import { recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { requireWebhook, type WebhookOwner } from './webhooks.ts';

export type Delivery = store.DeliveryRow;

/** Which webhook, and whose. */
export interface WebhookPlace {
  readonly owner: WebhookOwner;
  readonly webhook: string;
}

/** What was sent to a webhook and what is to be, newest first. @throws {AppError} `not_found` */
export async function listDeliveries(
  context: ServiceContext,
  { owner, webhook }: WebhookPlace,
  page: Parameters<typeof store.listDeliveries>[2],
): Promise<PageOf<Delivery>> {
  const { db } = context.database;
  const { id } = await requireWebhook(db, owner, webhook);
  return toPage(await store.listDeliveries(db, id, page), page.limit, (delivery) => delivery.id);
}

/** @throws {AppError} `not_found` */
export async function getDelivery(
  context: ServiceContext,
  { owner, webhook }: WebhookPlace,
  id: string,
): Promise<Delivery> {
  const { db } = context.database;
  const row = await requireWebhook(db, owner, webhook);
  const delivery = await store.findDelivery(db, row.id, id);
  if (delivery !== null) return delivery;
  throw new AppError(
    'not_found',
    `Webhook \`${webhook}\` has no delivery ${id}; its \`deliveries\` list those that are kept.`,
  );
}

/**
 * Sends a message again, as a delivery of its own; also to a webhook that is not active.
 * @throws {AppError} `not_found`
 */
export async function resendDelivery(
  context: ServiceContext,
  caller: Caller,
  place: WebhookPlace,
  id: string,
): Promise<Delivery> {
  const { webhookId, payload } = await getDelivery(context, place, id);
  return send(context, caller, place, { webhookId, payload, resendOfId: id });
}

/** Sends a message that tells nothing, to see whether it arrives; also to a webhook that is not active. */
export async function pingWebhook(
  context: ServiceContext,
  caller: Caller,
  place: WebhookPlace,
): Promise<Delivery> {
  const { id: webhookId } = await requireWebhook(context.database.db, place.owner, place.webhook);
  const payload = {
    id: randomUUID(),
    event: PING_EVENT,
    time: new Date().toISOString(),
    application: place.owner,
    data: { webhook: place.webhook, username: caller.username },
  };
  return send(context, caller, place, { webhookId, payload, resendOfId: null });
}

function send(
  context: ServiceContext,
  caller: Caller,
  { owner, webhook }: WebhookPlace,
  delivery: Parameters<typeof store.insertDelivery>[1],
): Promise<Delivery> {
  const { resendOfId } = delivery;
  return context.database.transaction(async (tx) => {
    const made = await store.insertDelivery(tx, delivery);
    await store.ringDeliveries(tx);
    await recordAudit(tx, caller, {
      action: resendOfId === null ? 'webhook.ping' : 'webhook.resend',
      application: owner,
      subject: webhook,
      after: { delivery: made.id, ...(resendOfId === null ? {} : { resend_of: resendOfId }) },
    });
    return made;
  });
}
