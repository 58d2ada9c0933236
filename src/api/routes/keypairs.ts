import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/keypairs.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toKeypair } from '../resources/keypairs.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  ChangeKeypairQuery,
  CreateKeypairQuery,
  Keypair,
  KeypairList,
  KeysBody,
} from '../schemas/keypairs.ts';
import { DeleteQuery, KeypairPath, ListQuery, pageOf } from '../schemas/parameters.ts';

const tags = ['keypairs'];
const read = { permission: { scope: 'global', access: 'read' } } as const;
const write = { permission: { scope: 'global', access: 'write' } } as const;

export function addKeypairRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/global/keypairs',
    config: read,
    schema: {
      summary: 'List keypairs',
      tags,
      querystring: ListQuery,
      response: { 200: KeypairList },
    },
    handler: async (request) => {
      const { rows, next } = await service.listKeypairs(context, pageOf(request.query));
      return {
        keypairs: request.query.details ? rows.map(toKeypair) : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/global/keypairs',
    config: write,
    schema: {
      summary: 'Create a keypair, of given keys or of new ones',
      tags,
      querystring: CreateKeypairQuery,
      body: KeysBody,
      response: { 201: Keypair },
    },
    handler: async (request, reply) => {
      const keypair = await service.createKeypair(context, callerOf(request), {
        ...request.query,
        privateKey: request.body?.private_key,
        publicKey: request.body?.public_key,
      });
      const url = `/global/keypairs/${keypair.name}`;
      return reply.code(201).header('location', url).send(toKeypair(keypair));
    },
  });

  app.route({
    method: 'GET',
    url: '/global/keypairs/:keypair',
    config: read,
    schema: { summary: 'Show a keypair', tags, params: KeypairPath, response: { 200: Keypair } },
    handler: async (request) =>
      toKeypair(await service.getKeypair(context, request.params.keypair)),
  });

  app.route({
    method: 'PATCH',
    url: '/global/keypairs/:keypair',
    config: write,
    schema: {
      summary:
        'Put another key in the place of a keypair; what uses it logs in with that from now on',
      tags,
      params: KeypairPath,
      querystring: ChangeKeypairQuery,
      body: KeysBody,
      response: { 200: Keypair },
    },
    handler: async (request) =>
      toKeypair(
        await service.changeKeypair(context, callerOf(request), {
          name: request.params.keypair,
          ...request.query,
          privateKey: request.body?.private_key,
          publicKey: request.body?.public_key,
        }),
      ),
  });

  app.route({
    method: 'DELETE',
    url: '/global/keypairs/:keypair',
    config: write,
    schema: {
      summary: 'Delete a keypair',
      tags,
      params: KeypairPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { keypair } = request.params;
      const deleted = await service.deleteKeypair(context, callerOf(request), {
        name: keypair,
        ...request.query,
      });
      return { deleted: { keypair, ...deleted } };
    },
  });
}
