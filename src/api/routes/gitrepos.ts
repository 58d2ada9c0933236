import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/gitrepos.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toGitrepo } from '../resources/gitrepos.ts';
import { DeletedReply } from '../schemas/common.ts';
import { CreatedGitrepo, CreateGitrepoQuery, Gitrepo, GitrepoList } from '../schemas/gitrepos.ts';
import {
  ApplicationPath,
  DeleteQuery,
  GitrepoPath,
  ListQuery,
  pageOf,
} from '../schemas/parameters.ts';
import { settleJob } from '../settle-job.ts';

const tags = ['gitrepos'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

/** Under both of the seed's spellings; the document shows the first. */
export function addGitrepoRoutes(app: Api, context: ServiceContext): void {
  addRoutesAt('/app/:application/gitrepos', { app, context, hide: false });
  addRoutesAt('/app/:application/gitrepo', { app, context, hide: true });
}

function addRoutesAt(
  base: string,
  { app, context, hide }: { app: Api; context: ServiceContext; hide: boolean },
): void {
  app.route({
    method: 'GET',
    url: base,
    config: read,
    schema: {
      summary: 'List gitrepos',
      tags,
      hide,
      params: ApplicationPath,
      querystring: ListQuery,
      response: { 200: GitrepoList },
    },
    handler: async (request) => {
      const { application } = request.params;
      const { rows, next } = await service.listGitrepos(
        context,
        application,
        pageOf(request.query),
      );
      return {
        application,
        gitrepos: request.query.details
          ? rows.map((row) => toGitrepo(application, row))
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: base,
    config: write,
    schema: {
      summary: 'Create a gitrepo (also at /app/{application}/gitrepo)',
      tags,
      hide,
      params: ApplicationPath,
      querystring: CreateGitrepoQuery,
      response: { 200: CreatedGitrepo, 202: CreatedGitrepo },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const { wait: waitSeconds, ...input } = request.query;
      const { gitrepo, job } = await service.createGitrepo(
        context,
        callerOf(request),
        application,
        input,
      );
      const settled = await settleJob(context, reply, { job, waitSeconds });
      const current = settled.wasHeld
        ? await service.getGitrepo(context, application, gitrepo.name)
        : gitrepo;
      return { ...toGitrepo(application, current), job: settled.summary };
    },
  });

  app.route({
    method: 'GET',
    url: `${base}/:gitrepo`,
    config: read,
    schema: {
      summary: 'Show a gitrepo',
      tags,
      hide,
      params: GitrepoPath,
      response: { 200: Gitrepo },
    },
    handler: async (request) => {
      const { application, gitrepo } = request.params;
      return toGitrepo(application, await service.getGitrepo(context, application, gitrepo));
    },
  });

  app.route({
    method: 'DELETE',
    url: `${base}/:gitrepo`,
    config: write,
    schema: {
      summary: 'Delete a gitrepo; at its provider it stays',
      tags,
      hide,
      params: GitrepoPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { application, gitrepo } = request.params;
      const deleted = await service.deleteGitrepo(context, callerOf(request), {
        applicationName: application,
        name: gitrepo,
        ...request.query,
      });
      return { deleted: { application, gitrepo, ...deleted } };
    },
  });
}
