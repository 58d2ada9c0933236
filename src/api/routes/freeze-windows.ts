import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/freeze-windows.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toFreezeWindow } from '../resources/freeze-windows.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  CreatedFreezeWindow,
  CreateFreezeWindowBody,
  CreateFreezeWindowQuery,
  EnvironmentPath,
  FreezeWindow,
  FreezeWindowList,
  FreezeWindowPath,
} from '../schemas/freeze-windows.ts';
import { DeleteQuery, ListQuery, pageOf } from '../schemas/parameters.ts';

const tags = ['servers'];
const read = { permission: { scope: 'global', access: 'read' } } as const;
const write = { permission: { scope: 'global', access: 'write' } } as const;

export function addFreezeWindowRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/server/environments/:environment/freezewindows',
    config: read,
    schema: {
      summary: 'List the freeze windows of an environment',
      tags,
      params: EnvironmentPath,
      querystring: ListQuery,
      response: { 200: FreezeWindowList },
    },
    handler: async (request) => {
      const { environment } = request.params;
      const { rows, next } = await service.listFreezeWindows(
        context,
        environment,
        pageOf(request.query),
      );
      return {
        environment,
        freezewindows: request.query.details
          ? rows.map(toFreezeWindow)
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/server/environments/:environment/freezewindows',
    config: write,
    schema: {
      summary: 'Create a freeze window',
      description:
        'While it holds, deployments to servers of the environment wait before their next batch; rollbacks do not. `override_freeze` lets a deployment go on.',
      tags,
      params: EnvironmentPath,
      querystring: CreateFreezeWindowQuery,
      body: CreateFreezeWindowBody,
      response: { 201: CreatedFreezeWindow },
    },
    handler: async (request, reply) => {
      const { duration, ...given } = request.body;
      const { window, messages } = await service.createFreezeWindow(context, callerOf(request), {
        ...request.params,
        ...request.query,
        ...given,
        durationSeconds: duration,
      });
      const { environment, name } = window;
      return reply
        .code(201)
        .header('location', `/server/environments/${environment}/freezewindows/${name}`)
        .send({ ...toFreezeWindow(window), messages: [...messages] });
    },
  });

  app.route({
    method: 'GET',
    url: '/server/environments/:environment/freezewindows/:freezewindow',
    config: read,
    schema: {
      summary: 'Show a freeze window',
      tags,
      params: FreezeWindowPath,
      response: { 200: FreezeWindow },
    },
    handler: async (request) => {
      const { environment, freezewindow } = request.params;
      return toFreezeWindow(await service.getFreezeWindow(context, environment, freezewindow));
    },
  });

  app.route({
    method: 'DELETE',
    url: '/server/environments/:environment/freezewindows/:freezewindow',
    config: write,
    schema: {
      summary: 'Delete a freeze window; what it holds back goes on',
      tags,
      params: FreezeWindowPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { environment, freezewindow } = request.params;
      await service.deleteFreezeWindow(context, callerOf(request), environment, freezewindow);
      return { deleted: { environment, freezewindow } };
    },
  });
}
