import { z } from 'zod';

const YES = new Set(['true', '1', 'yes']);
const NO = new Set(['false', '0', 'no']);

/** `true`/`false` in any letter case, `1`/`0`, `yes`/`no`. Source: API.md, "Conventions". */
export function flag(description: string) {
  return z
    .string()
    .transform((text, check) => readFlag(text, check))
    .meta({ description, type: 'boolean' });
}

/** A flag in a body: JSON's own `true` and `false`, or the words of `flag`. */
export function flagInBody(description: string) {
  return z
    .union([z.boolean(), z.string()], { error: 'must be true or false' })
    .transform((given, check) => (typeof given === 'boolean' ? given : readFlag(given, check)))
    .meta({ description, type: ['boolean', 'string'] });
}

function readFlag(text: string, check: z.RefinementCtx): boolean {
  const word = text.toLowerCase();
  if (YES.has(word)) return true;
  if (NO.has(word)) return false;
  check.addIssue({ code: 'custom', message: 'must be true or false' });
  return z.NEVER;
}

/** A whole number in decimal digits, nothing else. */
export function wholeNumber(range: { min: number; max: number }, description: string) {
  const { min, max } = range;
  return z
    .string()
    .transform((text, check) => {
      const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      if (number >= min && number <= max) return number;
      check.addIssue({
        code: 'custom',
        message: `must be a whole number from ${min} to ${max}`,
      });
      return z.NEVER;
    })
    .meta({ description, type: 'integer', minimum: min, maximum: max });
}

/** One of a few words. */
export function oneOf<const Words extends readonly [string, ...string[]]>(
  words: Words,
  description: string,
) {
  return z.enum(words).meta({ description });
}

export function text(description: string) {
  return z.string().min(1).meta({ description });
}

/** Names separated by `+`, `,` or spaces; in a query string `+` is a space. */
export function nameList(description: string) {
  return z
    .string()
    .transform((given) => given.split(/[\s,+]+/).filter((name) => name !== ''))
    .meta({ description });
}

export const wait = wholeNumber(
  { min: 0, max: 300 },
  'Seconds to wait for the job: the reply is held until it ends (200, or its error) or the time is up (202).',
).optional();

/** The query of every DELETE. */
export const DeleteQuery = z.strictObject({
  cascade: flag(
    'Delete what needs it as well, and what needs that. Not while a deployment or job is under way with any of it.',
  ).default(false),
});

const details = flag('Objects instead of names.').default(false);
export const limit = wholeNumber(
  { min: 1, max: 1000 },
  'Entries on one page; default 100 with details, else all.',
).optional();

/** The query of a list that is sorted by name. */
export const ListQuery = z.strictObject({
  details,
  limit,
  after: z.string().optional().meta({ description: 'The name after which the page begins.' }),
});
export type ListQuery = z.infer<typeof ListQuery>;

/** The query of a list that is sorted newest first. */
export const HistoryQuery = z.strictObject({
  details,
  limit,
  after: z.uuid('must be the id that `next` gave').optional().meta({
    description: 'The id after which the page begins.',
  }),
});
export type HistoryQuery = z.infer<typeof HistoryQuery>;

const DETAILS_PAGE = 100;

/** What the services want to know of a list's query. */
export function pageOf(query: ListQuery | HistoryQuery): {
  limit: number | undefined;
  after: string | undefined;
} {
  return {
    limit: query.limit ?? (query.details ? DETAILS_PAGE : undefined),
    after: query.after,
  };
}

const named = (what: string) => z.string().meta({ description: `Name of the ${what}.` });

export const ApplicationPath = z.object({ application: named('application') });
export const BuildPath = ApplicationPath.extend({ build: named('build') });
export const PackagePath = BuildPath.extend({ package: named('package') });
export const PackageMapPath = ApplicationPath.extend({ packagemap: named('package map') });
export const GitrepoPath = ApplicationPath.extend({ gitrepo: named('gitrepo') });
export const GitdeployPath = ApplicationPath.extend({ gitdeploy: named('gitdeploy') });
export const GroupPath = ApplicationPath.extend({ group: named('group') });
export const ServerPath = z.object({ server: named('server') });
export const GitproviderPath = z.object({ gitprovider: named('git provider') });
export const KeypairPath = z.object({ keypair: named('keypair') });
export const DeploymentPath = ApplicationPath.extend({
  deployment: z.uuid().meta({ description: 'Id of the deployment.' }),
});
/** The reply of a live stream. */
export const EventStream = z.any().meta({
  description:
    'Server-Sent Events: `id` is the number of the event, `event` its kind, `data` its JSON. The last one is `end`.',
});

/** The number of an event, in decimal digits. */
export function eventId(description: string) {
  return z
    .string()
    .regex(/^\d{1,18}$/, 'must be the id of an event')
    .optional()
    .meta({ description });
}

/** The query of a live stream. */
export const StreamQuery = z.strictObject({
  after: eventId(
    'The id of the last event that is known; only later ones are sent. A `Last-Event-ID` header goes before it.',
  ),
});

export const JobPath = z.object({ job: z.uuid().meta({ description: 'Id of the job.' }) });
