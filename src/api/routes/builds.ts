import * as service from '../../services/builds.ts';
import type { ServiceContext } from '../../services/context.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toBuild } from '../resources/builds.ts';
import {
  Build,
  BuildList,
  ChangeBuildBody,
  CreateBuildBody,
  CreateBuildQuery,
  CreatedBuild,
} from '../schemas/builds.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  ApplicationPath,
  BuildPath,
  DeleteQuery,
  ListQuery,
  pageOf,
} from '../schemas/parameters.ts';

const tags = ['builds'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

export function addBuildRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/app/:application/builds',
    config: read,
    schema: {
      summary: 'List builds',
      tags,
      params: ApplicationPath,
      querystring: ListQuery,
      response: { 200: BuildList },
    },
    handler: async (request) => {
      const { application } = request.params;
      const { rows, next } = await service.listBuilds(context, application, pageOf(request.query));
      return {
        application,
        builds: request.query.details
          ? rows.map((row) => toBuild(application, row))
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/app/:application/builds',
    config: write,
    schema: {
      summary: 'Create a build, to which an archive can then be uploaded',
      tags,
      params: ApplicationPath,
      querystring: CreateBuildQuery,
      body: CreateBuildBody,
      response: { 201: CreatedBuild },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const { build, messages } = await service.createBuild(
        context,
        callerOf(request),
        application,
        {
          name: request.query.build_name,
          attributes: request.body?.attributes ?? {},
        },
      );
      return reply
        .code(201)
        .header('location', `/app/${application}/builds/${build.name}`)
        .send({ ...toBuild(application, build), messages: [...messages] });
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/builds/:build',
    config: read,
    schema: { summary: 'Show a build', tags, params: BuildPath, response: { 200: Build } },
    handler: async (request) => {
      const { application, build } = request.params;
      return toBuild(application, await service.getBuild(context, application, build));
    },
  });

  app.route({
    method: 'PATCH',
    url: '/app/:application/builds/:build',
    config: write,
    schema: {
      summary: "Replace a build's attributes",
      tags,
      params: BuildPath,
      body: ChangeBuildBody,
      response: { 200: Build },
    },
    handler: async (request) => {
      const { application, build } = request.params;
      const { attributes } = request.body;
      return toBuild(
        application,
        await service.replaceBuildAttributes(context, callerOf(request), {
          applicationName: application,
          name: build,
          attributes,
        }),
      );
    },
  });

  app.route({
    method: 'DELETE',
    url: '/app/:application/builds/:build',
    config: write,
    schema: {
      summary: 'Delete a build and its data',
      tags,
      params: BuildPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { application, build } = request.params;
      await service.deleteBuild(context, callerOf(request), application, build);
      return { deleted: { application, build } };
    },
  });
}
