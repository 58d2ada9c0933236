import { AppError } from '../domain/errors.ts';
import { type Db, insertUnique } from './database.ts';
import type { Webhook, WebhookKind } from './generated/client.ts';
import { byName, type Page } from './paging.ts';

export type WebhookRow = Webhook;
export type { WebhookKind };

/** Null: those that hold for all applications. */
type Scope = string | null;

export function listWebhooks(db: Db, applicationId: Scope, page: Page): Promise<WebhookRow[]> {
  const { where, ...order } = byName(page);
  return db.webhook.findMany({ where: { applicationId, ...where }, ...order });
}

export function findWebhook(
  db: Db,
  applicationId: Scope,
  name: string,
): Promise<WebhookRow | null> {
  return db.webhook.findFirst({ where: { applicationId, name } });
}

/** Reads a webhook and keeps others from changing it until the transaction ends. */
export async function lockWebhook(tx: Db, id: string): Promise<WebhookRow | null> {
  // Not against new deliveries: whatever is told meanwhile must not wait for who changes a webhook.
  await tx.$executeRaw`select 1 from webhooks where id = ${id}::uuid for no key update`;
  return tx.webhook.findUnique({ where: { id } });
}

export interface WebhookValues {
  readonly kind: WebhookKind;
  readonly urlSealed: Uint8Array<ArrayBuffer>;
  readonly secretSealed: Uint8Array<ArrayBuffer> | null;
  readonly events: readonly string[];
  readonly active: boolean;
}

/** @throws {AppError} `already_exists` */
export function insertWebhook(
  db: Db,
  webhook: WebhookValues & { readonly applicationId: Scope; readonly name: string },
): Promise<WebhookRow> {
  return insertUnique(
    db.webhook.create({ data: { ...webhook, events: [...webhook.events] } }),
    () =>
      new AppError(
        'already_exists',
        `Webhook \`${webhook.name}\` exists already. Nothing was changed.`,
      ),
  );
}

export function updateWebhook(
  db: Db,
  id: string,
  { events, ...values }: Partial<WebhookValues>,
): Promise<WebhookRow> {
  return db.webhook.update({
    where: { id },
    data: { ...values, ...(events === undefined ? {} : { events: [...events] }) },
  });
}

/** Deletes a webhook with its deliveries. */
export async function deleteWebhook(db: Db, id: string): Promise<void> {
  await db.webhook.delete({ where: { id } });
}
