import { z } from 'zod';
import { DEFAULT_WEBHOOK_EVENTS, EVENT_PATTERN } from '../../domain/webhook-events.ts';
import type { WantedSecret } from '../../services/webhooks.ts';
import { applicationName, createdTime, listing, next, timeOrNull } from './common.ts';
import { ApplicationPath, flagInBody, HistoryQuery, oneOf, text } from './parameters.ts';

const webhook = z.string().meta({ description: 'Name of the webhook.' });
const delivery = z.uuid().meta({ description: 'Id of the delivery.' });

export const GlobalPath = z.object({});
export const GlobalWebhookPath = z.object({ webhook });
export const GlobalDeliveryPath = z.object({ webhook, delivery });
export const WebhookPath = ApplicationPath.extend({ webhook });
export const DeliveryPath = WebhookPath.extend({ delivery });

export const CreateWebhookQuery = z.strictObject({ name: text('Name of the new webhook.') });

const KINDS = ['webhook', 'slack'] as const;
const STATUSES = ['pending', 'delivered', 'failed'] as const;

const kind = z.enum(KINDS).meta({
  description:
    '`webhook`: JSON for programs, see docs/webhooks.md. `slack`: a message for people, as Slack, Mattermost and others take it.',
});

const events = z
  .array(z.string().regex(EVENT_PATTERN, 'must be an event, or a pattern with `*`'))
  .min(1)
  .max(50)
  .meta({
    description: `What it hears of: events such as \`deployment.failed\`, or patterns such as \`deployment.*\`. Default: ${DEFAULT_WEBHOOK_EVENTS.map((event) => `\`${event}\``).join(', ')}.`,
  });

const url = z.string().min(1).meta({
  description:
    'Where messages are sent, http or https. Stored encrypted; only its scheme and host are ever shown.',
});

const secret = z
  .string()
  .min(8)
  .max(256)
  .regex(/^\P{Cc}+$/u, 'must not hold control characters')
  .meta({
    description: 'Signs every message (HMAC-SHA256). Stored encrypted, never shown again.',
  });

const generate = flagInBody('Have Muster make the secret; it is shown in this reply only.');

/** The secret that a body wants; undefined if it says nothing. */
function wantedSecret(
  body: { secret?: string | null | undefined; generate?: boolean | undefined },
  context: z.RefinementCtx,
): WantedSecret | undefined {
  if (body.generate !== true) {
    return typeof body.secret === 'string' ? { given: body.secret } : body.secret;
  }
  if (body.secret === undefined) return 'generate';
  context.addIssue({
    code: 'custom',
    path: ['generate'],
    message: 'makes a secret, and `secret` gives one; give one of them',
  });
  return z.NEVER;
}

export const CreateWebhookBody = z
  .strictObject({
    url,
    kind: kind.default('webhook'),
    events: events.optional(),
    secret: secret.optional(),
    generate: generate.optional(),
    active: flagInBody('Whether anything is sent.').default(true),
  })
  .transform(({ secret: given, generate: made, ...rest }, context) => ({
    ...rest,
    secret: wantedSecret({ secret: given, generate: made }, context) ?? null,
  }));

export const ChangeWebhookBody = z
  .strictObject({
    url: url.optional(),
    kind: kind.optional(),
    events: events.optional(),
    secret: secret.nullable().optional().meta({
      description: 'Signs every message from now on; null: they are not signed any more.',
    }),
    generate: generate.optional(),
    active: flagInBody(
      'Whether anything is sent. What waits when it becomes false is given up.',
    ).optional(),
  })
  .transform(({ secret: given, generate: made, ...rest }, context) => ({
    ...rest,
    secret: wantedSecret({ secret: given, generate: made }, context),
  }));

export const Webhook = z
  .object({
    application: applicationName.optional(),
    name: z.string().meta({ description: 'Its name.' }),
    kind,
    url: z.string().meta({ description: 'Scheme and host of where messages are sent.' }),
    events: z.array(z.string()).meta({ description: 'What it hears of.' }),
    signed: z
      .boolean()
      .meta({ description: 'Whether it has a secret that messages are signed with.' }),
    active: z.boolean().meta({ description: 'Whether anything is sent.' }),
    created_datetime: createdTime,
    secret: z.string().optional().meta({
      description: 'The secret that Muster has made; in the reply to `generate` only.',
    }),
  })
  .meta({ id: 'Webhook', description: 'Where Muster tells of what happens.' });

export const WebhookList = z
  .object({ application: applicationName.optional(), webhooks: listing(Webhook), next })
  .meta({ id: 'WebhookList', description: 'Webhooks.' });

export const DeliveriesQuery = HistoryQuery.extend({
  status: oneOf(STATUSES, 'Only those that are so.').optional(),
});

export const WebhookDelivery = z
  .object({
    application: applicationName.optional(),
    webhook: z.string().meta({ description: 'The webhook it is for.' }),
    id: z.string().meta({ description: 'Its id; receivers get it as `X-Muster-Delivery`.' }),
    event: z.string().meta({ description: 'What it tells of.' }),
    status: z.enum(STATUSES).meta({
      description:
        '`pending`: to be sent, perhaps again. `delivered`: a receiver answered 2xx. `failed`: given up.',
    }),
    attempts: z.number().meta({ description: 'How often it was tried.' }),
    next_attempt_at: timeOrNull('When it is tried next.'),
    response_status: z
      .number()
      .nullable()
      .meta({ description: 'HTTP status of the last answer; null if there was none.' }),
    error: z
      .string()
      .nullable()
      .meta({ description: 'Why the last attempt failed; null if it did not.' }),
    resend_of: z.string().nullable().meta({ description: 'The delivery that it repeats.' }),
    created_datetime: createdTime,
    delivered_at: timeOrNull('When it arrived.'),
    payload: z.record(z.string(), z.unknown()).meta({
      description:
        'What it tells. Webhooks of the kind `slack` are sent a message that is made of it.',
    }),
  })
  .meta({ id: 'WebhookDelivery', description: 'One message for one webhook.' });

export const WebhookDeliveryList = z
  .object({
    application: applicationName.optional(),
    webhook: z.string().meta({ description: 'The webhook they are for.' }),
    deliveries: z
      .union([z.array(z.string()), z.array(WebhookDelivery)])
      .meta({ description: 'Ids, newest first; with `details=true` objects.' }),
    next,
  })
  .meta({ id: 'WebhookDeliveryList', description: 'Deliveries of a webhook.' });
