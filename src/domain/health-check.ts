import { z } from 'zod';
import { AppError } from './errors.ts';

const seconds = (range: { min: number; max: number }, what: string) =>
  z.number().min(range.min).max(range.max).meta({ description: what });

const port = z.number().int().min(1).max(65_535).meta({ description: 'The TCP port.' });

const from = z.enum(['server', 'worker']).default('server').meta({
  description:
    'Who looks: the server itself, at 127.0.0.1, or the worker, at the address by which it reaches the server. Default `server`.',
});

const common = {
  interval: seconds({ min: 0.1, max: 3600 }, 'Seconds between two looks. Default 2.').default(2),
  timeout: seconds({ min: 0.1, max: 600 }, 'Seconds that one look may take. Default 5.').default(5),
  healthy_after: z
    .number()
    .int()
    .min(1)
    .max(100)
    .default(1)
    .meta({ description: 'How many looks in a row must go well. Default 1.' }),
  within: seconds(
    { min: 1, max: 3600 },
    'Seconds until it must be healthy; then the step fails. Default 60.',
  ).default(60),
};

/** What must hold on a server after postpull, for the step to succeed. Durations in seconds. */
export const HealthCheck = z.discriminatedUnion(
  'type',
  [
    z.strictObject({
      type: z.literal('http').meta({ description: 'A page must answer.' }),
      from,
      scheme: z.enum(['http', 'https']).default('http').meta({ description: 'Default `http`.' }),
      port,
      path: z
        .string()
        .regex(/^\/[\x21-\x7e]*$/, 'must begin with `/` and be as it stands in a URL')
        .max(2000)
        .default('/')
        .meta({ description: 'Path and query. Default `/`.' }),
      host: z
        .string()
        .regex(/^[A-Za-z0-9.-]{1,253}(?::\d{1,5})?$/, 'must be the name of a host')
        .optional()
        .meta({ description: 'The Host header, and the name that a certificate must be for.' }),
      verify: z.boolean().optional().meta({
        description: 'Whether the certificate must be good. Default: if `host` is given.',
      }),
      status: z
        .union([z.number().int(), z.array(z.number().int()).min(1)])
        .default(200)
        .meta({ description: 'The status, or statuses, that are well. Default 200.' }),
      body: z
        .string()
        .min(1)
        .max(1000)
        .optional()
        .meta({ description: 'What must stand in the first 64 KiB of the body.' }),
      ...common,
    }),
    z.strictObject({
      type: z.literal('tcp').meta({ description: 'A port must take connections.' }),
      from,
      port,
      ...common,
    }),
    z.strictObject({
      type: z.literal('command').meta({ description: 'A command must end with exit code 0.' }),
      command: z
        .string()
        .min(1)
        .max(10_000)
        .meta({ description: 'Run by sh on the server, in the path of the gitdeploy.' }),
      ...common,
    }),
  ],
  { error: 'must be `http`, `tcp` or `command`' },
);
export type HealthCheck = z.infer<typeof HealthCheck>;
export type NetworkCheck = Exclude<HealthCheck, { type: 'command' }>;

const MAX_HEALTH_CHECKS = 20;
export const HealthChecks = z.array(HealthCheck).max(MAX_HEALTH_CHECKS);

/** A health check in a few words, as a step's log and errors name it. */
export function describeCheck(check: HealthCheck): string {
  switch (check.type) {
    case 'http':
      return `http ${check.scheme}://${check.host ?? 'localhost'}:${check.port}${check.path} from the ${check.from}`;
    case 'tcp':
      return `tcp port ${check.port} from the ${check.from}`;
    case 'command':
      return `command ${JSON.stringify(check.command.length > 60 ? `${check.command.slice(0, 60)}…` : check.command)}`;
  }
}

/** Whether the statuses that are well have this one. */
export function isWantedStatus(check: HealthCheck & { type: 'http' }, status: number): boolean {
  return Array.isArray(check.status) ? check.status.includes(status) : check.status === status;
}

/** A server that did not become healthy in time. */
export function unhealthy(check: HealthCheck, lastSeen: string): AppError {
  return new AppError(
    'unhealthy',
    `The health check \`${describeCheck(check)}\` did not go well within ${check.within} seconds; at last it said: ${lastSeen}. Look at what runs there, or give it more time with \`within\`.`,
    { details: { check: describeCheck(check), last_seen: lastSeen } },
  );
}
