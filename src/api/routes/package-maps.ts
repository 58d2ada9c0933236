import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/package-maps.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toPackageMap } from '../resources/package-maps.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  CreatePackageMapBody,
  CreatePackageMapQuery,
  PackageMap,
  PackageMapList,
} from '../schemas/package-maps.ts';
import {
  ApplicationPath,
  DeleteQuery,
  ListQuery,
  PackageMapPath,
  pageOf,
} from '../schemas/parameters.ts';

const tags = ['packagemaps'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

export function addPackageMapRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/app/:application/packagemaps',
    config: read,
    schema: {
      summary: 'List package maps',
      tags,
      params: ApplicationPath,
      querystring: ListQuery,
      response: { 200: PackageMapList },
    },
    handler: async (request) => {
      const { application } = request.params;
      const page = pageOf(request.query);
      const { rows, next } = await service.listPackageMaps(context, application, page);
      return {
        application,
        packagemaps: request.query.details
          ? rows.map((row) => toPackageMap(application, row))
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/app/:application/packagemaps',
    config: write,
    schema: {
      summary: 'Create a package map',
      tags,
      params: ApplicationPath,
      querystring: CreatePackageMapQuery,
      body: CreatePackageMapBody,
      response: { 201: PackageMap },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const map = await service.createPackageMap(context, callerOf(request), application, {
        name: request.query.name,
        packages: request.body.packages,
      });
      return reply
        .code(201)
        .header('location', `/app/${application}/packagemaps/${map.name}`)
        .send(toPackageMap(application, map));
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/packagemaps/:packagemap',
    config: read,
    schema: {
      summary: 'Show a package map',
      tags,
      params: PackageMapPath,
      response: { 200: PackageMap },
    },
    handler: async (request) => {
      const { application, packagemap } = request.params;
      return toPackageMap(
        application,
        await service.getPackageMap(context, application, packagemap),
      );
    },
  });

  app.route({
    method: 'DELETE',
    url: '/app/:application/packagemaps/:packagemap',
    config: write,
    schema: {
      summary: 'Delete a package map; packages that were cut by it stay',
      tags,
      params: PackageMapPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { application, packagemap } = request.params;
      await service.deletePackageMap(context, callerOf(request), application, packagemap);
      return { deleted: { application, packagemap } };
    },
  });
}
