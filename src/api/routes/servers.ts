import { AppError } from '../../domain/errors.ts';
import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/servers.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toChangedServer, toServer, toServerDetails } from '../resources/servers.ts';
import { DeletedReply } from '../schemas/common.ts';
import { DeleteQuery, ListQuery, pageOf, ServerPath } from '../schemas/parameters.ts';
import {
  ChangedServer,
  ChangeServerBody,
  CheckedServer,
  CheckServerQuery,
  CreateServerBody,
  CreateServerQuery,
  EnvironmentList,
  Server,
  ServerDetails,
  ServerList,
} from '../schemas/servers.ts';
import { settleJob } from '../settle-job.ts';

const tags = ['servers'];
/** Everybody may look at the servers that they may deploy to, who may read `_global` at all. */
const visible = { permission: { scope: 'authenticated' } } as const;
const write = { permission: { scope: 'global', access: 'write' } } as const;

export function addServerRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/server',
    config: visible,
    schema: {
      summary: 'List servers',
      tags,
      querystring: ListQuery,
      response: { 200: ServerList },
    },
    handler: async (request) => {
      const { rows, next } = await service.listServers(
        context,
        callerOf(request),
        pageOf(request.query),
      );
      return {
        servers: request.query.details
          ? rows.map((row) => toServer(row))
          : rows.map(({ name }) => name),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/server/environments',
    config: visible,
    schema: {
      summary: 'List environments with their servers',
      tags,
      response: { 200: EnvironmentList },
    },
    handler: async (request) => ({
      environments: await service.listEnvironments(context, callerOf(request)),
    }),
  });

  app.route({
    method: 'PUT',
    url: '/server',
    config: write,
    schema: {
      summary: 'Register a server',
      tags,
      querystring: CreateServerQuery,
      body: CreateServerBody,
      response: { 201: Server },
    },
    handler: async (request, reply) => {
      const { name, environment, existing } = request.query;
      if (!existing) throw onlyExisting();
      const server = await service.createServer(context, callerOf(request), {
        name,
        environment,
        ...request.body,
      });
      return reply.code(201).header('location', `/server/${server.name}`).send(toServer(server));
    },
  });

  app.route({
    method: 'GET',
    url: '/server/:server',
    config: visible,
    schema: {
      summary: 'Show a server and what is initialized on it',
      tags,
      params: ServerPath,
      response: { 200: ServerDetails },
    },
    handler: async (request) =>
      toServerDetails(await service.showServer(context, callerOf(request), request.params.server)),
  });

  app.route({
    method: 'PATCH',
    url: '/server/:server',
    config: write,
    schema: {
      summary: 'Change a server; each key given is replaced',
      description:
        'With another host, port, jump host or folder another machine may answer: what is initialized there is `unknown` until a job, which is started at once, has looked. It stays initialized, with the build that was deployed last.',
      tags,
      params: ServerPath,
      body: ChangeServerBody,
      response: { 200: ChangedServer },
    },
    handler: async (request) => {
      const { host_key: hostKey, ...changes } = request.body;
      const changed = await service.changeServer(context, callerOf(request), {
        name: request.params.server,
        changes: { ...changes, hostKey },
      });
      return toChangedServer(changed);
    },
  });

  app.route({
    method: 'POST',
    url: '/server/:server',
    config: write,
    schema: {
      summary: 'Check a server: connect, and look at it and at what runs there',
      tags,
      params: ServerPath,
      querystring: CheckServerQuery,
      response: { 200: CheckedServer, 202: CheckedServer },
    },
    handler: async (request, reply) => {
      const { check, wait: waitSeconds } = request.query;
      if (!check) throw onlyChecks();
      const { server: name } = request.params;
      const { server, job } = await service.checkServer(context, callerOf(request), name);
      const settled = await settleJob(context, reply, { job, waitSeconds });
      const current = settled.wasHeld ? await service.getServer(context, name) : server;
      return { ...toServerDetails(current), job: settled.summary };
    },
  });

  app.route({
    method: 'DELETE',
    url: '/server/:server',
    config: write,
    schema: {
      summary: 'Forget a server; what is on it stays',
      tags,
      params: ServerPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { server } = request.params;
      const deleted = await service.deleteServer(context, callerOf(request), {
        name: server,
        ...request.query,
      });
      return { deleted: { server, ...deleted } };
    },
  });
}

function onlyExisting(): AppError {
  return new AppError(
    'invalid_input',
    'Muster does not make servers; set one up, then register it with `existing=true`, or leave `existing` out.',
    { details: { parameter: 'existing' } },
  );
}

function onlyChecks(): AppError {
  return new AppError('invalid_input', 'Say what to do with the server: `check=true`.', {
    details: { parameter: 'check' },
  });
}
