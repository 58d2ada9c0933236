import * as service from '../../services/build-contents.ts';
import type { ServiceContext } from '../../services/context.ts';
import type { Api } from '../fastify-types.ts';
import { sendJsonStream } from '../json-stream.ts';
import { toPackage, toPackageFile, toPackagePreview } from '../resources/builds.ts';
import {
  BuildDiff,
  DiffQuery,
  FileListQuery,
  PackageFileList,
  PackageList,
} from '../schemas/builds.ts';
import { PackageMapPreview, PreviewQuery } from '../schemas/package-maps.ts';
import {
  BuildPath,
  ListQuery,
  PackageMapPath,
  PackagePath,
  pageOf,
} from '../schemas/parameters.ts';

const read = { permission: { scope: 'application', access: 'read' } } as const;

/** What is in a build, and what would be in its packages: lists that may be long, so they are sent as they are read. */
export function addBuildContentRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/app/:application/builds/:build/packages',
    config: read,
    schema: {
      summary: 'List the packages of a build; `master` is the whole build',
      tags: ['builds'],
      params: BuildPath,
      querystring: ListQuery,
      response: { 200: PackageList },
    },
    handler: async (request) => {
      const { application, build } = request.params;
      const page = { build, ...pageOf(request.query) };
      const { rows, next } = await service.listPackages(context, application, page);
      return {
        application,
        build_name: build,
        packages: request.query.details
          ? rows.map((row) => ({ name: row.name, ...toPackage(row) }))
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/builds/:build/packages/:package/files',
    config: read,
    schema: {
      summary: 'List the files of a package; `master` is the whole build',
      tags: ['builds'],
      params: PackagePath,
      querystring: FileListQuery,
      response: { 200: PackageFileList },
    },
    handler: async (request, reply) => {
      const { application, build, package: name } = request.params;
      const { limit, after } = request.query;
      const wanted = { applicationName: application, build, package: name };
      if (limit === undefined) {
        const files = toEach(await service.openPackageFiles(context, wanted, after), toPackageFile);
        await sendJsonStream(reply, { application, build, package: name, files });
        return reply;
      }
      const page = { limit, after };
      const { rows, next } = await service.listPackageFiles(context, wanted, page);
      const files = rows.map(toPackageFile);
      return { application, build, package: name, files, ...(next === null ? {} : { next }) };
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/builds/:build/diff',
    config: read,
    schema: {
      summary: 'Compare a build with another one, file by file',
      description:
        'What turns the package of the build `from` into that of this one. A renamed file is one deleted and one added; a change of mode alone is a modification.',
      tags: ['builds'],
      params: BuildPath,
      querystring: DiffQuery,
      response: { 200: BuildDiff },
    },
    handler: async (request, reply) => {
      const { application, build } = request.params;
      const { from, package: name } = request.query;
      const wanted = { applicationName: application, build, package: name };
      const { added, modified, deleted } = await service.diffBuilds(context, wanted, from);
      const head = { application, build, from, package: name };
      await sendJsonStream(reply, { ...head, added, modified, deleted });
      return reply;
    },
  });

  app.route({
    method: 'POST',
    url: '/app/:application/packagemaps/:packagemap/preview',
    config: read,
    schema: {
      summary: 'Show what each package of a package map would hold of a build; nothing is stored',
      tags: ['packagemaps'],
      params: PackageMapPath,
      querystring: PreviewQuery,
      response: { 200: PackageMapPreview },
    },
    handler: async (request, reply) => {
      const { application, packagemap } = request.params;
      const { build_name: build } = request.query;
      const previewed = await service.previewPackageMap(context, application, {
        packageMap: packagemap,
        build,
      });
      const packages = Object.fromEntries(
        Object.entries(previewed).map(([name, each]) => [name, toPackagePreview(each)]),
      );
      await sendJsonStream(reply, { application, packagemap, build, packages });
      return reply;
    },
  });
}

async function* toEach<From, To>(
  items: AsyncIterable<From>,
  to: (item: From) => To,
): AsyncGenerator<To> {
  for await (const item of items) yield to(item);
}
