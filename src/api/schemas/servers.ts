import { z } from 'zod';
import { Attributes, createdTime, listing, next } from './common.ts';
import { flag, text } from './parameters.ts';

export const CreateServerQuery = z.strictObject({
  name: text('Name of the new server.'),
  environment: text('The environment it is in.'),
  existing: flag(
    'Whether the server exists; Muster does not make servers, so only `true`.',
  ).default(true),
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
            'The only host key to trust, `type base64`; without it the first connection pins what it sees.',
        }),
      }),
      z.strictObject({
        kind: z.literal('local').meta({ description: "A folder of the worker's machine." }),
        root: z.string().min(1).meta({ description: 'Absolute path that stands for `/`.' }),
      }),
    ],
    { error: '`kind` must be `ssh` or `local`' },
  )
  .meta({ description: 'How the server is reached.' });

const datacenter = z.string().nullish().meta({ description: 'Where it stands.' });

export const CreateServerBody = z.strictObject({
  connection: Connection,
  datacenter,
  attributes: Attributes.optional(),
});

export const ChangeServerBody = z.strictObject({
  environment: z.string().exactOptional().meta({ description: 'The environment it is in.' }),
  connection: Connection.exactOptional(),
  datacenter,
  attributes: Attributes.optional(),
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
        root: z.string().optional().meta({ description: 'With `local`: the folder.' }),
      })
      .meta({ description: 'How the server is reached.' }),
    datacenter: z.string().nullable().meta({ description: 'Where it stands.' }),
    attributes: Attributes,
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
      }),
    )
    .meta({ description: 'What is initialized on it.' }),
}).meta({ id: 'ServerDetails', description: 'A server and what is initialized on it.' });

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
