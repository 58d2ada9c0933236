import { z } from 'zod';
import { ServerFacts } from '../../domain/server-facts.ts';
import { Attributes, GivenAttributes } from './attributes.ts';
import { createdTime, drift, listing, next, timeOrNull } from './common.ts';
import { JobSummary } from './jobs.ts';
import { flag, flagInBody, text, wait } from './parameters.ts';

export const CreateServerQuery = z.strictObject({
  name: text('Name of the new server.'),
  environment: text('The environment it is in.'),
  existing: flag(
    'Whether the server exists; Muster does not make servers, so only `true`.',
  ).default(true),
});

export const CheckServerQuery = z.strictObject({
  check: flag('Connect and look at it; the only thing that can be asked for.').default(false),
  wait,
});

const Connection = z
  .discriminatedUnion(
    'kind',
    [
      z.strictObject({
        kind: z.literal('ssh').meta({ description: 'By SSH.' }),
        host: z.string().min(1).meta({ description: 'Host name or address.' }),
        port: z
          .number()
          .int()
          .min(1)
          .max(65_535)
          .default(22)
          .meta({ description: 'Port of sshd.' }),
        user: z.string().min(1).meta({ description: 'Who logs in.' }),
        keypair: z.string().min(1).meta({ description: 'Name of the keypair to log in with.' }),
        host_key: z.string().nullish().meta({
          description:
            'The only host key to trust, `type base64`. Without it the first connection pins what it sees, and a pinned key stays while host, port and jump do; null forgets it.',
        }),
        become: flagInBody(
          'Whether actions run as root, by sudo without a password, where the user is not root.',
        ).default(false),
        jump: z.string().min(1).nullish().meta({
          description:
            'Name of the server from which this one is reached, logged in to with its own keypair.',
        }),
      }),
      z.strictObject({
        kind: z.literal('local').meta({ description: "A folder of the worker's machine." }),
        root: z.string().min(1).meta({ description: 'Absolute path that stands for `/`.' }),
      }),
    ],
    { error: 'must be `ssh` or `local`' },
  )
  .meta({ description: 'How the server is reached.' });

const datacenter = z.string().nullish().meta({ description: 'Where it stands.' });

export const CreateServerBody = z.strictObject({
  connection: Connection,
  datacenter,
  attributes: GivenAttributes.optional(),
});

export const ChangeServerBody = z.strictObject({
  environment: z.string().exactOptional().meta({ description: 'The environment it is in.' }),
  connection: Connection.exactOptional(),
  host_key: z.string().nullable().exactOptional().meta({
    description:
      'Pins this host key, `type base64`, without giving the connection again; null forgets the pinned one, so that the next connection pins what it sees.',
  }),
  datacenter,
  attributes: GivenAttributes.optional(),
});

export const Server = z
  .object({
    name: z.string().meta({ description: 'Name of the server.' }),
    environment: z.string().meta({ description: 'The environment it is in.' }),
    connection: z
      .object({
        kind: z.enum(['ssh', 'local']).meta({ description: 'How it is reached.' }),
        host: z.string().optional().meta({ description: 'With `ssh`: host name or address.' }),
        port: z.number().optional().meta({ description: 'With `ssh`: port of sshd.' }),
        user: z.string().optional().meta({ description: 'With `ssh`: who logs in.' }),
        keypair: z
          .string()
          .nullable()
          .optional()
          .meta({ description: 'With `ssh`: name of the keypair.' }),
        host_key: z.string().nullable().optional().meta({
          description: 'With `ssh`: the pinned host key; null until the first connection.',
        }),
        become: z
          .boolean()
          .optional()
          .meta({ description: 'With `ssh`: whether actions run as root.' }),
        jump: z
          .string()
          .nullable()
          .optional()
          .meta({ description: 'With `ssh`: name of the server from which it is reached.' }),
        root: z.string().optional().meta({ description: 'With `local`: the folder.' }),
      })
      .meta({ description: 'How the server is reached.' }),
    datacenter: z.string().nullable().meta({ description: 'Where it stands.' }),
    attributes: Attributes,
    facts: ServerFacts.nullable().meta({
      description: 'What the last check has seen; null before the first.',
    }),
    checked_at: timeOrNull('When it was last checked.'),
    created_datetime: createdTime,
  })
  .meta({ id: 'Server', description: 'A server.' });

export const ServerDetails = Server.extend({
  gitdeploys: z
    .array(
      z.object({
        application: z.string().meta({ description: 'Name of the application.' }),
        gitdeploy: z.string().meta({ description: 'Name of the gitdeploy.' }),
        path: z.string().meta({ description: 'Where its clone is.' }),
        deployed: z
          .string()
          .nullable()
          .meta({ description: 'The build that is there; null if there is none.' }),
        drift,
        observed_at: timeOrNull('When that was last looked at.'),
      }),
    )
    .meta({ description: 'What is initialized on it.' }),
}).meta({ id: 'ServerDetails', description: 'A server and what is initialized on it.' });

export const CheckedServer = ServerDetails.extend({ job: JobSummary }).meta({
  id: 'CheckedServer',
  description: 'A server and the job that looks at it.',
});

export const ChangedServer = ServerDetails.extend({
  messages: z
    .array(z.string())
    .optional()
    .meta({ description: 'What else the change has brought about.' }),
  job: JobSummary.optional().meta({
    description:
      'Looks at what is initialized there, as another machine may answer from now on; until then its drift is `unknown`.',
  }),
}).meta({ id: 'ChangedServer', description: 'A server that was changed.' });

export const ServerList = z
  .object({ servers: listing(Server), next })
  .meta({ id: 'ServerList', description: 'Servers.' });

export const EnvironmentList = z
  .object({
    environments: z
      .record(z.string(), z.array(z.string()))
      .meta({ description: 'By environment, the names of its servers, sorted.' }),
  })
  .meta({ id: 'EnvironmentList', description: 'Environments.' });
