import { AppError } from '../../domain/errors.ts';
import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/gitdeploys.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toGitdeploy } from '../resources/gitdeploys.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  ChangeGitdeployBody,
  CreateGitdeployBody,
  CreateGitdeployQuery,
  Gitdeploy,
  GitdeployList,
  InstallBody,
  InstalledGitdeploy,
  InstallQuery,
} from '../schemas/gitdeploys.ts';
import {
  ApplicationPath,
  DeleteQuery,
  GitdeployPath,
  ListQuery,
  pageOf,
} from '../schemas/parameters.ts';
import { settleJob } from '../settle-job.ts';

const tags = ['gitdeploys'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

/** Under both of the seed's spellings; the document shows the first. */
export function addGitdeployRoutes(app: Api, context: ServiceContext): void {
  for (const [base, hide] of [
    ['/app/:application/gitdeploys', false],
    ['/app/:application/gitdeploy', true],
  ] as const) {
    addListAndCreate(base, { app, context, hide });
    addShowChangeAndDelete(base, { app, context, hide });
    addInstall(base, { app, context, hide });
  }
}

interface At {
  readonly app: Api;
  readonly context: ServiceContext;
  /** Whether the document leaves it out. */
  readonly hide: boolean;
}

function addListAndCreate(base: string, { app, context, hide }: At): void {
  app.route({
    method: 'GET',
    url: base,
    config: read,
    schema: {
      summary: 'List gitdeploys',
      tags,
      hide,
      params: ApplicationPath,
      querystring: ListQuery,
      response: { 200: GitdeployList },
    },
    handler: async (request) => {
      const { application } = request.params;
      const page = pageOf(request.query);
      const { rows, next } = await service.listGitdeploys(context, application, page);
      return {
        application,
        gitdeploys: request.query.details
          ? rows.map((row) => toGitdeploy(application, row))
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
      summary: 'Create a gitdeploy (also at /app/{application}/gitdeploy)',
      tags,
      hide,
      params: ApplicationPath,
      querystring: CreateGitdeployQuery,
      body: CreateGitdeployBody,
      response: { 201: Gitdeploy },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const input = { ...request.query, ...request.body };
      const gitdeploy = await service.createGitdeploy(
        context,
        callerOf(request),
        application,
        input,
      );
      return reply
        .code(201)
        .header('location', `/app/${application}/gitdeploys/${gitdeploy.name}`)
        .send(toGitdeploy(application, gitdeploy));
    },
  });
}

function addShowChangeAndDelete(base: string, { app, context, hide }: At): void {
  app.route({
    method: 'GET',
    url: `${base}/:gitdeploy`,
    config: read,
    schema: {
      summary: 'Show a gitdeploy and where it is initialized',
      tags,
      hide,
      params: GitdeployPath,
      response: { 200: Gitdeploy },
    },
    handler: async (request) => {
      const { application, gitdeploy } = request.params;
      return toGitdeploy(application, await service.getGitdeploy(context, application, gitdeploy));
    },
  });

  app.route({
    method: 'PATCH',
    url: `${base}/:gitdeploy`,
    config: write,
    schema: {
      summary: 'Change a gitdeploy; each key given is replaced',
      tags,
      hide,
      params: GitdeployPath,
      body: ChangeGitdeployBody,
      response: { 200: Gitdeploy },
    },
    handler: async (request) => {
      const { application, gitdeploy } = request.params;
      return toGitdeploy(
        application,
        await service.changeGitdeploy(context, callerOf(request), {
          applicationName: application,
          name: gitdeploy,
          changes: request.body,
        }),
      );
    },
  });

  app.route({
    method: 'DELETE',
    url: `${base}/:gitdeploy`,
    config: write,
    schema: {
      summary: 'Delete a gitdeploy; clones on servers stay',
      tags,
      hide,
      params: GitdeployPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { application, gitdeploy } = request.params;
      const deleted = await service.deleteGitdeploy(context, callerOf(request), {
        applicationName: application,
        name: gitdeploy,
        ...request.query,
      });
      return { deleted: { application, gitdeploy, ...deleted } };
    },
  });
}

function addInstall(base: string, { app, context, hide }: At): void {
  app.route({
    method: 'POST',
    url: `${base}/:gitdeploy`,
    config: write,
    schema: {
      summary: 'Initialize or deinitialize a gitdeploy on servers',
      tags,
      hide,
      params: GitdeployPath,
      querystring: InstallQuery,
      body: InstallBody,
      response: { 200: InstalledGitdeploy, 202: InstalledGitdeploy },
    },
    handler: async (request, reply) => {
      const { application, gitdeploy: name } = request.params;
      const asked = { applicationName: application, name, servers: request.body.servers };
      const started = await service.changeInstallations(context, callerOf(request), {
        ...asked,
        action: actionOf(request.query),
      });
      const waitSeconds = request.query.wait;
      const settled = await settleJob(context, reply, { job: started.job, waitSeconds });
      const current = settled.wasHeld
        ? await service.getGitdeploy(context, application, name)
        : started.gitdeploy;
      return {
        ...toGitdeploy(application, current),
        requested_servers: started.servers,
        job: settled.summary,
      };
    },
  });
}

function actionOf(query: {
  initialize: boolean;
  deinitialize: boolean;
}): 'initialize' | 'deinitialize' {
  if (query.initialize !== query.deinitialize) {
    return query.initialize ? 'initialize' : 'deinitialize';
  }
  throw new AppError(
    'invalid_input',
    'Say what to do: either `initialize=true` or `deinitialize=true`, and not both.',
    { details: { parameters: ['initialize', 'deinitialize'] } },
  );
}
