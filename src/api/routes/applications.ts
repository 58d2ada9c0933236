import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { isAllowed } from '../../domain/permissions.ts';
import * as service from '../../services/applications.ts';
import { type CatchUp, catchUp } from '../../services/catch-up.ts';
import { getCensus } from '../../services/census.ts';
import type { ServiceContext } from '../../services/context.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toApplication } from '../resources/applications.ts';
import {
  Application,
  ApplicationList,
  CatchUpQuery,
  CatchUps,
  Census,
  ChangeApplicationBody,
} from '../schemas/applications.ts';
import { DeletedReply } from '../schemas/common.ts';
import {
  ApplicationPath,
  DeleteQuery,
  flag,
  ListQuery,
  pageOf,
  text,
} from '../schemas/parameters.ts';
import { settleJob } from '../settle-job.ts';

const tags = ['applications'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

const only = (what: string) =>
  text(`Only what is under this ${what}; 400 if there is none of that name.`).exactOptional();

export function addApplicationRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/app',
    config: { permission: { scope: 'authenticated' } },
    schema: {
      summary: 'List the applications that the caller may read',
      tags,
      querystring: ListQuery,
      response: { 200: ApplicationList },
    },
    handler: async (request) => {
      const { permissions } = callerOf(request);
      const { rows, next } = await service.listApplications(context, pageOf(request.query));
      const readable = rows.filter(({ name }) => isAllowed(permissions, name, 'read'));
      return {
        applications: request.query.details
          ? readable.map(toApplication)
          : readable.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'PUT',
    url: '/app',
    config: write,
    schema: {
      summary: 'Create an application',
      tags,
      querystring: z.strictObject({ app_name: text('Name of the new application.') }),
      response: { 201: Application },
    },
    handler: async (request, reply) => {
      const application = await service.createApplication(
        context,
        callerOf(request),
        request.query.app_name,
      );
      return reply
        .code(201)
        .header('location', `/app/${application.name}`)
        .send(toApplication(application));
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application',
    config: { ...read, etag: true },
    schema: {
      summary: 'Show an application with its census',
      tags,
      params: ApplicationPath,
      querystring: z.strictObject({
        census: flag('Whether to show the census.').default(true),
      }),
      response: { 200: Application },
    },
    handler: async (request, reply) => {
      const { application: name } = request.params;
      const application = toApplication(await service.getApplication(context, name));
      if (!request.query.census) return application;
      const census = await getCensus(context, callerOf(request), {
        application: name,
        details: false,
      });
      // The census is text already, and large: it is put in place, not read and written again.
      return sendJson(reply, `${JSON.stringify(application).slice(0, -1)},"census":${census}}`);
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/census',
    config: { ...read, etag: true },
    schema: {
      summary: 'Show what is committed and what is deployed, for every server and gitdeploy',
      tags,
      params: ApplicationPath,
      querystring: z.strictObject({
        environment: only('environment'),
        group: only('group'),
        server: only('server'),
        details: flag('Commits, times and drift as well.').default(false),
      }),
      response: { 200: Census },
    },
    handler: async (request, reply) =>
      sendJson(
        reply,
        await getCensus(context, callerOf(request), { ...request.params, ...request.query }),
      ),
  });

  app.route({
    method: 'PATCH',
    url: '/app/:application',
    config: write,
    schema: {
      summary: 'Change an application; each key given is replaced',
      tags,
      params: ApplicationPath,
      body: ChangeApplicationBody,
      response: { 200: Application },
    },
    handler: async (request) => {
      const { auto_catchup: autoCatchup } = request.body ?? {};
      return toApplication(
        await service.changeApplication(
          context,
          callerOf(request),
          request.params.application,
          autoCatchup === undefined ? {} : { autoCatchup },
        ),
      );
    },
  });

  app.route({
    method: 'POST',
    url: '/app/:application/catchup',
    config: write,
    schema: {
      summary: 'Bring servers what they have missed',
      description:
        'Servers that deployments with `unreachable=skip` have left out get the commit that was meant for them; branches stay where they are. With nothing to catch up with, or if it is under way, `deployments` is empty.',
      tags,
      params: ApplicationPath,
      querystring: CatchUpQuery,
      response: { 200: CatchUps, 202: CatchUps },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const { server, wait } = request.query;
      const of = { application, ...(server === undefined ? {} : { server }) };
      const started = await catchUp(context, callerOf(request), of);
      return { application, deployments: await settleAll(context, reply, { started, wait }) };
    },
  });

  app.route({
    method: 'DELETE',
    url: '/app/:application',
    config: write,
    schema: {
      summary: 'Delete an application and everything of it; clones on servers stay',
      tags,
      params: ApplicationPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { application } = request.params;
      const deleted = await service.deleteApplication(context, callerOf(request), application);
      return { deleted: { application, ...deleted } };
    },
  });
}

/** Waits for the jobs together; the first that has failed is told of. */
async function settleAll(
  context: ServiceContext,
  reply: FastifyReply,
  { started, wait }: { started: readonly CatchUp[]; wait: number | undefined },
): Promise<z.infer<typeof CatchUps>['deployments']> {
  const deadline = Date.now() + (wait ?? 0) * 1000;
  const settled: z.infer<typeof CatchUps>['deployments'] = [];
  let isDone = true;
  for (const { deploymentId: id, buildName: build, servers, job } of started) {
    const left = Math.max(0, deadline - Date.now()) / 1000;
    const waitSeconds = wait === undefined ? undefined : left;
    const end = await settleJob(context, reply, { job, waitSeconds });
    isDone &&= end.isDone;
    settled.push({ id, build, servers: [...servers], job: end.summary });
  }
  reply.code(isDone ? 200 : 202);
  return settled;
}

function sendJson(reply: FastifyReply, text: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(text);
}
