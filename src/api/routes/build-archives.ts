import multipart from '@fastify/multipart';
import { z } from 'zod';
import * as service from '../../services/builds.ts';
import type { ServiceContext } from '../../services/context.ts';
import { uploadBuildFrom } from '../../services/indirect-uploads.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toBuild } from '../resources/builds.ts';
import { DownloadQuery, UploadedBuild, UploadQuery } from '../schemas/builds.ts';
import { BuildPath, PackagePath } from '../schemas/parameters.ts';
import { settleJob } from '../settle-job.ts';
import { discardRest, openUpload } from '../upload-source.ts';

const tags = ['builds'];

const MEDIA_TYPE = { zip: 'application/zip', 'tar.gz': 'application/gzip' } as const;

/** Uploads and downloads: what streams. A scope of its own, as its bodies are read in another way. */
export async function addBuildArchiveRoutes(app: Api, context: ServiceContext): Promise<void> {
  app.removeAllContentTypeParsers();
  // The spool measures the archive; what stands beside it in the form is refused before it costs anything.
  await app.register(multipart, {
    limits: {
      fileSize: Number.POSITIVE_INFINITY,
      files: 1,
      fields: 10,
      fieldSize: 1024,
      parts: 11,
    },
  });
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  app.addHook('onResponse', (request, _reply, done) => {
    if (request.routeOptions.config.body === 'stream') discardRest(request.raw);
    done();
  });

  app.route({
    method: 'POST',
    url: '/app/:application/builds/:build',
    config: { permission: { scope: 'application', access: 'write' }, body: 'stream' },
    schema: {
      summary: 'Upload the archive of a build',
      description:
        'The archive is the file of the form field `build`, or the body itself under any other Content-Type. With `indirect_url` Muster fetches it from there, and what else the request carries is ignored. A stored build never changes: a second upload is refused.',
      tags,
      consumes: ['multipart/form-data', 'application/octet-stream'],
      params: BuildPath,
      querystring: UploadQuery,
      response: { 200: UploadedBuild, 202: UploadedBuild },
    },
    handler: async (request, reply) => {
      const { application, build: name } = request.params;
      const { file_type, package_map, sha256, indirect_url, verify, wait } = request.query;
      const caller = callerOf(request);
      const upload = {
        applicationName: application,
        name,
        fileType: file_type,
        packageMap: package_map,
        sha256,
      };
      const { build, job } =
        indirect_url === undefined
          ? await service.uploadBuild(context, caller, upload, {
              open: () => openUpload(request),
              onReceived: (sha256) => {
                request.upload = { sha256 };
              },
            })
          : await uploadBuildFrom(context, caller, upload, {
              url: indirect_url,
              verifyTls: verify,
            });
      const settled = await settleJob(context, reply, { job, waitSeconds: wait });
      const current = settled.wasHeld ? await service.getBuild(context, application, name) : build;
      return { ...toBuild(application, current), job: settled.summary };
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/builds/:build/packages/:package',
    config: { permission: { scope: 'application', access: 'read' } },
    schema: {
      summary: 'Download a package; `master` is the whole build',
      tags,
      produces: Object.values(MEDIA_TYPE),
      params: PackagePath,
      querystring: DownloadQuery,
      response: { 200: z.any().meta({ description: 'The archive.' }) },
    },
    handler: async (request, reply) => {
      const { application, build, package: name } = request.params;
      const { file_type } = request.query;
      const { archive } = await service.downloadPackage(context, application, {
        build,
        package: name,
        fileType: file_type,
      });
      reply.header('content-disposition', `attachment; filename="${build}-${name}.${file_type}"`);
      return reply.type(MEDIA_TYPE[file_type]).send(archive);
    },
  });
}
