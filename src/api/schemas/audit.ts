import { z } from 'zod';
import { next } from './common.ts';
import { text, wholeNumber } from './parameters.ts';

/** A day, or a moment with its offset from UTC. A `+` that was not encoded has become a space. */
const moment = (description: string) =>
  z
    .string()
    .transform((given) => given.replace(/ (?=\d\d:\d\d$)/, '+'))
    .pipe(
      z.union([z.iso.date(), z.iso.datetime({ offset: true })], {
        error: 'must be a date like 2026-01-31 or a time like 2026-01-31T12:00:00Z',
      }),
    )
    .transform((given) => new Date(given))
    .meta({ description, type: 'string', format: 'date-time' });

export const AuditQuery = z.strictObject({
  user: text('Only what this user did; `-` is for what nobody with a name did.').optional(),
  application: text('Only what was done to this application and to what is in it.').optional(),
  action: text(
    'Only this action, such as `server.create`, or `server.*` for all of them.',
  ).optional(),
  since: moment('Only from this time on. ISO 8601; a date alone is its midnight, UTC.').optional(),
  until: moment('Only before this time. ISO 8601; a date alone is its midnight, UTC.').optional(),
  limit: wholeNumber({ min: 1, max: 1000 }, 'Events on one page; default 100.').default(100),
  after: z
    .string()
    .regex(/^\d{1,18}$/, 'must be the id that `next` gave')
    .transform(BigInt)
    .optional()
    .meta({ description: 'The id after which the page begins.', type: 'string' }),
});

const shown = (when: string) =>
  z.unknown().meta({
    description: `What was changed, as it was ${when}; null if there is nothing to tell.`,
  });

const AuditEvent = z
  .object({
    id: z.string().meta({ description: 'Grows from event to event.' }),
    time: z.string().meta({ description: 'When it was done. ISO 8601, UTC.', format: 'date-time' }),
    username: z
      .string()
      .meta({ description: 'Who did it; `-` for Muster itself and unknown users.' }),
    remote_address: z
      .string()
      .nullable()
      .meta({ description: 'Where the request came from; null for what Muster did by itself.' }),
    request_id: z.string().nullable().meta({
      description: "Finds the request in Muster's log; null for what Muster did by itself.",
    }),
    action: z.string().meta({
      description:
        'Noun and verb: `server.create`, `deployment.cancel`, `login.failed`, `request.denied`.',
    }),
    application: z.string().nullable().meta({ description: 'The application that it concerns.' }),
    subject: z
      .string()
      .meta({ description: 'Name or id of what was changed, or what was refused.' }),
    before: shown('before'),
    after: shown('afterwards'),
  })
  .meta({ id: 'AuditEvent', description: 'Who did what, when and from where.' });

export const AuditEventList = z
  .object({
    events: z.array(AuditEvent).meta({ description: 'Newest first.' }),
    next,
  })
  .meta({ id: 'AuditEventList', description: 'Audit events.' });
