import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/groups.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toGroup, toGroupDetails } from '../resources/groups.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  ChangeGroupBody,
  ChangeGroupQuery,
  CreateGroupBody,
  CreateGroupQuery,
  GetGroupQuery,
  Group,
  GroupDetails,
  GroupList,
} from '../schemas/groups.ts';
import {
  ApplicationPath,
  DeleteQuery,
  GroupPath,
  ListQuery,
  pageOf,
} from '../schemas/parameters.ts';

const tags = ['groups'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

export function addGroupRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/app/:application/groups',
    config: read,
    schema: {
      summary: 'List groups',
      tags,
      params: ApplicationPath,
      querystring: ListQuery,
      response: { 200: GroupList },
    },
    handler: async (request) => {
      const { application } = request.params;
      const { rows, next } = await service.listGroups(context, application, pageOf(request.query));
      return {
        application,
        groups: request.query.details
          ? rows.map((row) => toGroup(application, row))
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/app/:application/groups',
    config: write,
    schema: {
      summary: 'Create a group',
      tags,
      params: ApplicationPath,
      querystring: CreateGroupQuery,
      body: CreateGroupBody,
      response: { 201: Group },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const { name, rolling_deploy: rolling } = request.query;
      const input = { name, rolling, ...request.body };
      const group = await service.createGroup(context, callerOf(request), application, input);
      return reply
        .code(201)
        .header('location', `/app/${application}/groups/${group.name}`)
        .send(toGroup(application, group));
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/groups/:group',
    config: read,
    schema: {
      summary: 'Show a group with its servers',
      tags,
      params: GroupPath,
      querystring: GetGroupQuery,
      response: { 200: GroupDetails },
    },
    handler: async (request) => {
      const { application, group } = request.params;
      const environments = request.query.environments ?? null;
      return toGroupDetails(
        application,
        await service.getGroup(context, application, group, environments),
      );
    },
  });

  app.route({
    method: 'PATCH',
    url: '/app/:application/groups/:group',
    config: write,
    schema: {
      summary: 'Change a group; each key given is replaced',
      tags,
      params: GroupPath,
      querystring: ChangeGroupQuery,
      body: ChangeGroupBody,
      response: { 200: GroupDetails },
    },
    handler: async (request) => {
      const { application, group } = request.params;
      const { rolling_deploy, ...body } = request.body ?? {};
      const rolling = request.query.rolling_deploy ?? rolling_deploy;
      const changes = { ...body, ...(rolling === undefined ? {} : { rolling }) };
      return toGroupDetails(
        application,
        await service.changeGroup(context, callerOf(request), {
          applicationName: application,
          name: group,
          changes,
        }),
      );
    },
  });

  app.route({
    method: 'DELETE',
    url: '/app/:application/groups/:group',
    config: write,
    schema: {
      summary: 'Delete a group; its gitdeploys stay',
      tags,
      params: GroupPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { application, group } = request.params;
      await service.deleteGroup(context, callerOf(request), application, group);
      return { deleted: { application, group } };
    },
  });
}
