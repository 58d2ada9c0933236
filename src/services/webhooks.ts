import { randomBytes } from 'node:crypto';
import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import { quotedList } from '../domain/quoted.ts';
import { openSecret, sealSecret } from '../domain/sealed-secret.ts';
import { DEFAULT_WEBHOOK_EVENTS, deafPatterns, WEBHOOK_EVENTS } from '../domain/webhook-events.ts';
import type { Db } from '../store/database.ts';
import type { Page } from '../store/paging.ts';
import { abandonDeliveries } from '../store/webhook-deliveries.ts';
import * as store from '../store/webhooks.ts';
import { parseWebhookUrl } from '../transport/http/webhook-url.ts';
import { recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, requireApplication, SUGGESTION_PAGE } from './lookup.ts';

/** Random bits of a secret that Muster makes. */
const SECRET_BYTES = 32;

/** Whose webhook it is: an application's, by name, or (null) one that holds for all of them. */
export type WebhookOwner = string | null;

/** A webhook as it may be shown: of its URL the scheme and the host, and whether there is a secret. */
export interface Webhook {
  readonly name: string;
  readonly application: WebhookOwner;
  readonly kind: store.WebhookKind;
  readonly urlOrigin: string;
  readonly isSigned: boolean;
  readonly events: readonly string[];
  readonly active: boolean;
  readonly createdAt: Date;
}

/** A webhook with the secret that was made for it, to be shown this once. */
export interface WebhookWithSecret {
  readonly webhook: Webhook;
  readonly secret: string | null;
}

/** A secret that a user gives, one that Muster is to make, or (null) none. */
export type WantedSecret = { readonly given: string } | 'generate' | null;

export interface NewWebhook {
  readonly name: string;
  readonly kind: store.WebhookKind;
  readonly url: string;
  readonly secret: WantedSecret;
  readonly events?: readonly string[] | undefined;
  readonly active: boolean;
}

export interface WebhookChanges {
  readonly kind?: store.WebhookKind | undefined;
  readonly url?: string | undefined;
  readonly secret?: WantedSecret | undefined;
  readonly events?: readonly string[] | undefined;
  readonly active?: boolean | undefined;
}

/** @throws {AppError} `not_found` */
export async function listWebhooks(
  context: ServiceContext,
  owner: WebhookOwner,
  page: Page,
): Promise<PageOf<Webhook>> {
  const { db } = context.database;
  const applicationId = await ownerId(db, owner);
  const rows = await store.listWebhooks(db, applicationId, page);
  const { rows: shown, next } = toPage(rows, page.limit, (w) => w.name);
  return { rows: shown.map((row) => toWebhook(context, owner, row)), next };
}

/** @throws {AppError} `not_found` */
export async function getWebhook(
  context: ServiceContext,
  owner: WebhookOwner,
  name: string,
): Promise<Webhook> {
  return toWebhook(context, owner, await requireWebhook(context.database.db, owner, name));
}

/** @throws {AppError} `not_found` */
export async function requireWebhook(
  db: Db,
  owner: WebhookOwner,
  name: string,
): Promise<store.WebhookRow> {
  const applicationId = await ownerId(db, owner);
  return found(await store.findWebhook(db, applicationId, name), {
    kind: 'webhook',
    name,
    names: () => store.listWebhooks(db, applicationId, SUGGESTION_PAGE),
  });
}

/** @throws {AppError} `not_found`, `invalid_input`, `webhook_url_refused`, `already_exists` */
export async function createWebhook(
  context: ServiceContext,
  caller: Caller,
  owner: WebhookOwner,
  input: NewWebhook,
): Promise<WebhookWithSecret> {
  const { database, config } = context;
  const name = parseName('webhook', input.name);
  const events = input.events ?? DEFAULT_WEBHOOK_EVENTS;
  refuseDeaf(events);
  const { href } = parseWebhookUrl(input.url, config.webhooks.allow);
  const secret = secretOf(input.secret);
  const webhook = await database.transaction(async (tx) => {
    const row = await store.insertWebhook(tx, {
      applicationId: await ownerId(tx, owner),
      name,
      kind: input.kind,
      urlSealed: sealSecret(href, config.secretKey),
      secretSealed: secret === null ? null : sealSecret(secret, config.secretKey),
      events,
      active: input.active,
    });
    const made = toWebhook(context, owner, row);
    await recordAudit(tx, caller, {
      action: 'webhook.create',
      application: owner,
      subject: name,
      after: describeWebhook(made),
    });
    return made;
  });
  return { webhook, secret: input.secret === 'generate' ? secret : null };
}

/**
 * Changes what is given and leaves the rest. A webhook that is deactivated sends nothing more: what still waits for it
 * is given up.
 * @throws {AppError} `not_found`, `invalid_input`, `webhook_url_refused`
 */
export async function changeWebhook(
  context: ServiceContext,
  caller: Caller,
  of: { readonly owner: WebhookOwner; readonly name: string; readonly changes: WebhookChanges },
): Promise<WebhookWithSecret> {
  const { database, config } = context;
  const { owner, name, changes } = of;
  const { kind, events, active } = changes;
  if (events !== undefined) refuseDeaf(events);
  const url =
    changes.url === undefined ? null : parseWebhookUrl(changes.url, config.webhooks.allow);
  const secret = changes.secret === undefined ? undefined : secretOf(changes.secret);
  const webhook = await database.transaction(async (tx) => {
    const { id } = await requireWebhook(tx, owner, name);
    const before = await store.lockWebhook(tx, id);
    if (before === null) throw goneMeanwhile(name);
    const row = await store.updateWebhook(tx, id, {
      ...(kind === undefined ? {} : { kind }),
      ...(events === undefined ? {} : { events }),
      ...(active === undefined ? {} : { active }),
      ...(url === null ? {} : { urlSealed: sealSecret(url.href, config.secretKey) }),
      ...(secret === undefined
        ? {}
        : { secretSealed: secret === null ? null : sealSecret(secret, config.secretKey) }),
    });
    if (before.active && !row.active) {
      await abandonDeliveries(tx, id, 'The webhook was deactivated.');
    }
    const after = toWebhook(context, owner, row);
    await recordAudit(tx, caller, {
      action: 'webhook.change',
      application: owner,
      subject: name,
      before: describeWebhook(toWebhook(context, owner, before)),
      after: {
        ...describeWebhook(after),
        // Neither is shown, so the audit tells at least that it is another one.
        url_changed: url !== null,
        secret_changed: secret !== undefined,
      },
    });
    return after;
  });
  return { webhook, secret: changes.secret === 'generate' ? (secret ?? null) : null };
}

/** Deletes a webhook with its deliveries. @throws {AppError} `not_found` */
export async function deleteWebhook(
  context: ServiceContext,
  caller: Caller,
  owner: WebhookOwner,
  name: string,
): Promise<void> {
  await context.database.transaction(async (tx) => {
    const { id } = await requireWebhook(tx, owner, name);
    const row = await store.lockWebhook(tx, id);
    if (row === null) throw goneMeanwhile(name);
    await store.deleteWebhook(tx, id);
    await recordAudit(tx, caller, {
      action: 'webhook.delete',
      application: owner,
      subject: name,
      before: describeWebhook(toWebhook(context, owner, row)),
    });
  });
}

async function ownerId(db: Db, owner: WebhookOwner): Promise<string | null> {
  return owner === null ? null : (await requireApplication(db, owner)).id;
}

function goneMeanwhile(name: string): AppError {
  return new AppError('not_found', `Webhook \`${name}\` was deleted in this moment.`);
}

function secretOf(wanted: WantedSecret): string | null {
  if (wanted === null) return null;
  return wanted === 'generate' ? randomBytes(SECRET_BYTES).toString('hex') : wanted.given;
}

function refuseDeaf(patterns: readonly string[]): void {
  const deaf = deafPatterns(patterns);
  if (deaf.length === 0) return;
  throw new AppError(
    'invalid_input',
    `No event is called ${quotedList(deaf)}; there are ${WEBHOOK_EVENTS.map((e) => `\`${e}\``).join(', ')}, and \`*\` in a pattern stands for any characters.`,
    { details: { parameter: 'events', unknown: deaf, events: WEBHOOK_EVENTS } },
  );
}

function toWebhook(
  { config }: ServiceContext,
  application: WebhookOwner,
  row: store.WebhookRow,
): Webhook {
  return {
    name: row.name,
    application,
    kind: row.kind,
    urlOrigin: new URL(openSecret(row.urlSealed, config.secretKey)).origin,
    isSigned: row.secretSealed !== null,
    events: row.events,
    active: row.active,
    createdAt: row.createdAt,
  };
}

/** A webhook as the audit shows it: named one by one, so that no secret is among it. */
function describeWebhook(webhook: Webhook): Record<string, unknown> {
  const { name, kind, urlOrigin, isSigned, events, active } = webhook;
  return { name, kind, url: urlOrigin, signed: isSigned, events, active };
}
