import { WebhookPayload } from '../domain/webhook-payload.ts';
import { insertAuditEvent } from './audit-events.ts';
import type { Db } from './database.ts';
import { notify } from './events.ts';
import type { DeliveryStatus, WebhookDelivery, WebhookKind } from './generated/client.ts';
import { fromJson } from './json.ts';
import { DELIVERY_TOPIC, insertDeliveries } from './webhook-notices.ts';

export type { DeliveryStatus };
export type DeliveryRow = Omit<WebhookDelivery, 'payload'> & { readonly payload: WebhookPayload };

const parsed = (row: WebhookDelivery): DeliveryRow => ({
  ...row,
  payload: fromJson(WebhookPayload, row.payload),
});

/** Deliveries of a webhook, newest first, older than the one with the id `after`. */
export async function listDeliveries(
  db: Db,
  webhookId: string,
  page: {
    status?: DeliveryStatus | undefined;
    limit?: number | undefined;
    after?: string | undefined;
  },
): Promise<DeliveryRow[]> {
  const { status, limit, after } = page;
  const rows = await db.webhookDelivery.findMany({
    where: {
      webhookId,
      ...(status === undefined ? {} : { status }),
      ...(after === undefined ? {} : { id: { lt: after } }),
    },
    orderBy: { id: 'desc' },
    ...(limit === undefined ? {} : { take: limit + 1 }),
  });
  return rows.map(parsed);
}

export async function findDelivery(
  db: Db,
  webhookId: string,
  id: string,
): Promise<DeliveryRow | null> {
  const row = await db.webhookDelivery.findFirst({ where: { id, webhookId } });
  return row === null ? null : parsed(row);
}

/** Has a message sent to one webhook, whatever that hears of otherwise. */
export async function insertDelivery(
  tx: Db,
  delivery: { webhookId: string; payload: WebhookPayload; resendOfId: string | null },
): Promise<DeliveryRow> {
  const [row] = await insertDeliveries(tx, [delivery]);
  if (row === undefined) throw new Error('the delivery was not inserted');
  return parsed(row);
}

/** A delivery in a worker's hands, with where it goes. */
export interface ClaimedDelivery {
  readonly id: string;
  readonly webhookId: string;
  readonly event: string;
  readonly payload: WebhookPayload;
  /** The number of this attempt, from 1; what is written about the attempt names it. */
  readonly attempts: number;
  readonly kind: WebhookKind;
  readonly urlSealed: Uint8Array;
  readonly secretSealed: Uint8Array | null;
}

type ClaimedRow = Omit<ClaimedDelivery, 'payload'> & { readonly payload: unknown };

/**
 * Takes deliveries that are due, those that have waited longest first. Whoever takes one has `leaseSeconds` to say what
 * became of it; then it is due again, as its worker is taken for dead.
 * @param claim.busy how many deliveries of which webhook are under way in this process
 * @param claim.perWebhook how many there may be, so that a slow receiver leaves room for the others
 */
export async function claimDeliveries(
  db: Db,
  claim: {
    readonly limit: number;
    readonly perWebhook: number;
    readonly busy: ReadonlyMap<string, number>;
    readonly leaseSeconds: number;
  },
): Promise<ClaimedDelivery[]> {
  const { limit, perWebhook, busy, leaseSeconds } = claim;
  const rows = await db.$queryRaw<ClaimedRow[]>`
    with due as materialized (
      select d.id from webhooks w
        left join unnest(${[...busy.keys()]}::uuid[], ${[...busy.values()]}::int[]) as b (id, count) on b.id = w.id
       cross join lateral (
         select id, next_attempt_at from webhook_deliveries
          where webhook_id = w.id and status = 'pending' and next_attempt_at <= now()
          order by next_attempt_at limit greatest(0, ${perWebhook}::int - coalesce(b.count, 0))
            for update skip locked) d
       order by d.next_attempt_at limit ${limit})
    update webhook_deliveries d
       set attempts = d.attempts + 1,
           next_attempt_at = now() + make_interval(secs => ${leaseSeconds})
      from due, webhooks w
     where d.id = due.id and w.id = d.webhook_id
    returning d.id::text, d.webhook_id::text as "webhookId", d.event, d.payload, d.attempts,
              w.kind::text as kind, w.url_sealed as "urlSealed", w.secret_sealed as "secretSealed"`;
  return rows.map((row) => ({ ...row, payload: fromJson(WebhookPayload, row.payload) }));
}

/** When the next delivery that is not due yet will be, in milliseconds from now; null if there is none. */
export async function nextDeliveryDueInMs(db: Db): Promise<number | null> {
  const [row] = await db.$queryRaw<{ ms: number | null }[]>`
    select (extract(epoch from min(next_attempt_at) - now()) * 1000)::float8 as ms
      from webhook_deliveries where status = 'pending' and next_attempt_at > now()`;
  return row?.ms ?? null;
}

/** What an attempt has come to. */
export interface AttemptResult {
  readonly id: string;
  readonly attempts: number;
  readonly responseStatus: number | null;
  /** Why it did not arrive; null if it did. */
  readonly error: string | null;
}

/** Notes that a message has arrived, whoever has tried it again meanwhile. */
export async function recordDelivered(db: Db, result: AttemptResult): Promise<void> {
  const { id, responseStatus } = result;
  await db.webhookDelivery.updateMany({
    where: { id },
    data: {
      status: 'delivered',
      deliveredAt: new Date(),
      nextAttemptAt: null,
      responseStatus,
      error: null,
    },
  });
}

/**
 * Notes that an attempt has failed. What was taken over by another worker meanwhile is left to that one.
 * @param afterMs when to try again; null: never
 */
export async function recordUndelivered(
  db: Db,
  result: AttemptResult,
  afterMs: number | null,
): Promise<void> {
  const { id, attempts, responseStatus, error } = result;
  if (afterMs === null) {
    await db.webhookDelivery.updateMany({
      where: { id, attempts, status: 'pending' },
      data: { status: 'failed', nextAttemptAt: null, responseStatus, error },
    });
    return;
  }
  await db.$executeRaw`
    update webhook_deliveries
       set next_attempt_at = now() + make_interval(secs => ${afterMs / 1000}),
           response_status = ${responseStatus}, error = ${error}
     where id = ${id}::uuid and attempts = ${attempts} and status = 'pending'`;
}

/** Gives back what could not be tried because the worker stops. */
export async function releaseDelivery(
  db: Db,
  { id, attempts }: { id: string; attempts: number },
): Promise<void> {
  await db.$executeRaw`
    update webhook_deliveries set next_attempt_at = now(), attempts = attempts - 1
     where id = ${id}::uuid and attempts = ${attempts} and status = 'pending'`;
}

/** Ends what still waits for a webhook that nothing more is to be sent to. */
export async function abandonDeliveries(tx: Db, webhookId: string, error: string): Promise<void> {
  await tx.webhookDelivery.updateMany({
    where: { webhookId, status: 'pending' },
    data: { status: 'failed', nextAttemptAt: null, error },
  });
}

/** Sends nothing more to a webhook whose receiver says that it is gone, until a user activates it again. */
export async function deactivateGoneWebhook(tx: Db, webhookId: string): Promise<void> {
  const { count } = await tx.webhook.updateMany({
    where: { id: webhookId, active: true },
    data: { active: false },
  });
  await abandonDeliveries(tx, webhookId, GONE);
  if (count === 0) return;
  const webhook = await tx.webhook.findUniqueOrThrow({
    where: { id: webhookId },
    include: { application: true },
  });
  await insertAuditEvent(tx, {
    username: '-',
    remoteAddress: null,
    requestId: null,
    action: 'webhook.change',
    application: webhook.application?.name ?? null,
    subject: webhook.name,
    before: { active: true },
    after: { active: false, reason: GONE },
  });
}

const GONE = 'The receiver answered 410: it is gone, so the webhook was deactivated.';

/** Deletes up to `limit` deliveries that are over and older than `before`. @returns how many */
export function deleteOldDeliveries(
  db: Db,
  { before, limit }: { before: Date; limit: number },
): Promise<number> {
  return db.$executeRaw`
    delete from webhook_deliveries where id in (
      select id from webhook_deliveries
       where status in ('delivered', 'failed') and created_at < ${before} limit ${limit})`;
}

/** Wakes those who deliver, once the transaction is committed. */
export function ringDeliveries(tx: Db): Promise<void> {
  return notify(tx, DELIVERY_TOPIC);
}
