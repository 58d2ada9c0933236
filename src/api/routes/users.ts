import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/users.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toEffectivePermissions, toUser } from '../resources/users.ts';
import { DeletedReply } from '../schemas/common.ts';
import { DeleteQuery, ListQuery, pageOf } from '../schemas/parameters.ts';
import {
  ChangeUserBody,
  CreateUserBody,
  CreateUserQuery,
  EffectivePermissions,
  User,
  UserList,
  UserPath,
} from '../schemas/users.ts';

const tags = ['users'];
const read = { permission: { scope: 'global', access: 'read' } } as const;
const write = { permission: { scope: 'global', access: 'write' } } as const;
const readOrSelf = { permission: { scope: 'global', access: 'read', orSelf: true } } as const;
const writeOrSelf = { permission: { scope: 'global', access: 'write', orSelf: true } } as const;

export function addUserRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/global/users',
    config: read,
    schema: { summary: 'List users', tags, querystring: ListQuery, response: { 200: UserList } },
    handler: async (request) => {
      const { rows, next } = await service.listUsers(context, pageOf(request.query));
      return {
        users: request.query.details ? rows.map(toUser) : rows.map(({ username }) => username),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/global/users',
    config: write,
    schema: {
      summary: 'Create a user',
      tags,
      querystring: CreateUserQuery,
      body: CreateUserBody,
      response: { 201: User },
    },
    handler: async (request, reply) => {
      const input = { ...request.query, ...request.body };
      const user = await service.createUser(context, callerOf(request), input);
      return reply
        .code(201)
        .header('location', `/global/users/${user.username}`)
        .send(toUser(user));
    },
  });

  app.route({
    method: 'GET',
    url: '/global/users/:user',
    config: readOrSelf,
    schema: {
      summary: 'Show a user; everybody may look at themselves',
      tags,
      params: UserPath,
      response: { 200: User },
    },
    handler: async (request) => toUser(await service.getUser(context, request.params.user)),
  });

  app.route({
    method: 'GET',
    url: '/global/users/:user/permissions',
    config: readOrSelf,
    schema: {
      summary: "Show what a user's permissions come to now; everybody may look at their own",
      tags,
      params: UserPath,
      response: { 200: EffectivePermissions },
    },
    handler: async (request) => {
      const { user } = request.params;
      return toEffectivePermissions(user, await service.getEffectivePermissions(context, user));
    },
  });

  app.route({
    method: 'PATCH',
    url: '/global/users/:user',
    config: writeOrSelf,
    schema: {
      summary: 'Change a user; each key given is replaced',
      description:
        'Everybody may change their own password, and nobody their own permissions without writing `_global`. A new password ends the tokens that were got by the old one, but for the one that this is asked with.',
      tags,
      params: UserPath,
      body: ChangeUserBody,
      response: { 200: User },
    },
    handler: async (request) => {
      const { user } = request.params;
      return toUser(await service.changeUser(context, callerOf(request), user, request.body));
    },
  });

  app.route({
    method: 'DELETE',
    url: '/global/users/:user',
    config: write,
    schema: {
      summary: 'Delete a user with all tokens; what the user has done stays on record',
      tags,
      params: UserPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { user } = request.params;
      await service.deleteUser(context, callerOf(request), user);
      return { deleted: { user } };
    },
  });
}
