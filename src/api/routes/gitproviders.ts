import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/gitproviders.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toGitprovider } from '../resources/gitproviders.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  ChangeGitproviderBody,
  CreateGitproviderBody,
  CreateGitproviderQuery,
  Gitprovider,
  GitproviderList,
  gitproviderAuthReader,
} from '../schemas/gitproviders.ts';
import { DeleteQuery, GitproviderPath, ListQuery, pageOf } from '../schemas/parameters.ts';

const tags = ['gitproviders'];
const read = { permission: { scope: 'global', access: 'read' } } as const;
const write = { permission: { scope: 'global', access: 'write' } } as const;

export function addGitproviderRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/global/gitproviders',
    config: read,
    schema: {
      summary: 'List git providers',
      tags,
      querystring: ListQuery,
      response: { 200: GitproviderList },
    },
    handler: async (request) => {
      const { rows, next } = await service.listGitproviders(context, pageOf(request.query));
      return {
        gitproviders: request.query.details
          ? rows.map(toGitprovider)
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/global/gitproviders',
    config: write,
    schema: {
      summary: 'Create a git provider',
      tags,
      querystring: CreateGitproviderQuery,
      body: CreateGitproviderBody,
      response: { 201: Gitprovider },
    },
    handler: async (request, reply) => {
      const gitprovider = await service.createGitprovider(context, callerOf(request), {
        name: request.query.name,
        kind: request.body.type,
        url: request.body.url ?? null,
        auth: request.body.auth,
      });
      const url = `/global/gitproviders/${gitprovider.name}`;
      return reply.code(201).header('location', url).send(toGitprovider(gitprovider));
    },
  });

  app.route({
    method: 'GET',
    url: '/global/gitproviders/:gitprovider',
    config: read,
    schema: {
      summary: 'Show a git provider',
      tags,
      params: GitproviderPath,
      response: { 200: Gitprovider },
    },
    handler: async (request) =>
      toGitprovider(await service.getGitprovider(context, request.params.gitprovider)),
  });

  app.route({
    method: 'PATCH',
    url: '/global/gitproviders/:gitprovider',
    config: write,
    schema: {
      summary: 'Change where a git provider is, or what authenticates there',
      tags,
      params: GitproviderPath,
      body: ChangeGitproviderBody,
      response: { 200: Gitprovider },
    },
    handler: async (request) => {
      const { url, auth } = request.body;
      return toGitprovider(
        await service.changeGitprovider(context, callerOf(request), {
          name: request.params.gitprovider,
          changes: { url, auth: auth === undefined ? undefined : gitproviderAuthReader(auth) },
        }),
      );
    },
  });

  app.route({
    method: 'DELETE',
    url: '/global/gitproviders/:gitprovider',
    config: write,
    schema: {
      summary: 'Delete a git provider',
      tags,
      params: GitproviderPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { gitprovider } = request.params;
      const deleted = await service.deleteGitprovider(context, callerOf(request), {
        name: gitprovider,
        ...request.query,
      });
      return { deleted: { gitprovider, ...deleted } };
    },
  });
}
