import type { FastifyRequest } from 'fastify';
import type { ServiceContext } from '../../services/context.ts';
import { abandonRequest } from '../../services/idempotency.ts';
import * as service from '../../services/webhooks.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { ofApplication, toWebhook } from '../resources/webhooks.ts';
import { DeletedReply } from '../schemas/common.ts';
import { ApplicationPath, DeleteQuery, ListQuery, pageOf } from '../schemas/parameters.ts';
import {
  ChangeWebhookBody,
  CreateWebhookBody,
  CreateWebhookQuery,
  DeliveryPath,
  GlobalDeliveryPath,
  GlobalPath,
  GlobalWebhookPath,
  Webhook,
  WebhookList,
  WebhookPath,
} from '../schemas/webhooks.ts';
import { addWebhookDeliveryRoutes } from './webhook-deliveries.ts';
import { ownerOf, type WebhookScope } from './webhook-scope.ts';

const tags = ['webhooks'];

const SCOPES: readonly WebhookScope[] = [
  {
    base: '/global/webhooks',
    whose: 'that hears of all applications',
    read: { permission: { scope: 'global', access: 'read' } },
    write: { permission: { scope: 'global', access: 'write' } },
    paths: { all: GlobalPath, one: GlobalWebhookPath, delivery: GlobalDeliveryPath },
  },
  {
    base: '/app/:application/webhooks',
    whose: 'of an application',
    read: { permission: { scope: 'application', access: 'read' } },
    write: { permission: { scope: 'application', access: 'write' } },
    paths: { all: ApplicationPath, one: WebhookPath, delivery: DeliveryPath },
  },
];

/** The routes of webhooks and of their deliveries, for applications and for all of them together. */
export function addWebhookRoutes(app: Api, context: ServiceContext): void {
  for (const scope of SCOPES) {
    addListAndCreate(app, context, scope);
    addShowChangeAndDelete(app, context, scope);
    addWebhookDeliveryRoutes(app, context, scope);
  }
}

function addListAndCreate(app: Api, context: ServiceContext, scope: WebhookScope): void {
  const { base, whose, read, write, paths } = scope;
  app.route({
    method: 'GET',
    url: base,
    config: read,
    schema: {
      summary: `List the webhooks ${whose.replace('hears', 'hear')}`,
      tags,
      params: paths.all,
      querystring: ListQuery,
      response: { 200: WebhookList },
    },
    handler: async (request) => {
      const owner = ownerOf(request.params);
      const { rows, next } = await service.listWebhooks(context, owner, pageOf(request.query));
      return {
        ...ofApplication(owner),
        webhooks: request.query.details
          ? rows.map((row) => toWebhook(row))
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
      summary: `Create a webhook ${whose}`,
      tags,
      params: paths.all,
      querystring: CreateWebhookQuery,
      body: CreateWebhookBody,
      response: { 201: Webhook },
    },
    handler: async (request, reply) => {
      const owner = ownerOf(request.params);
      const input = { name: request.query.name, ...request.body };
      const made = await service.createWebhook(context, callerOf(request), owner, input);
      if (made.secret !== null) await keepNoReply(context, request);
      const { name } = made.webhook;
      return reply
        .code(201)
        .header('location', `${base.replace(':application', owner ?? '')}/${name}`)
        .send(toWebhook(made.webhook, made.secret));
    },
  });
}

function addShowChangeAndDelete(app: Api, context: ServiceContext, scope: WebhookScope): void {
  const { base, whose, read, write, paths } = scope;
  const url = `${base}/:webhook`;
  app.route({
    method: 'GET',
    url,
    config: read,
    schema: {
      summary: `Show a webhook ${whose}, without what is secret`,
      tags,
      params: paths.one,
      response: { 200: Webhook },
    },
    handler: async ({ params }) =>
      toWebhook(await service.getWebhook(context, ownerOf(params), params.webhook)),
  });

  app.route({
    method: 'PATCH',
    url,
    config: write,
    schema: {
      summary: `Change a webhook ${whose}`,
      tags,
      params: paths.one,
      body: ChangeWebhookBody,
      response: { 200: Webhook },
    },
    handler: async (request) => {
      const { params, body } = request;
      const { webhook, secret } = await service.changeWebhook(context, callerOf(request), {
        owner: ownerOf(params),
        name: params.webhook,
        changes: body,
      });
      return toWebhook(webhook, secret);
    },
  });

  app.route({
    method: 'DELETE',
    url,
    config: write,
    schema: {
      summary: `Delete a webhook ${whose}, with its deliveries`,
      tags,
      params: paths.one,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { params } = request;
      const owner = ownerOf(params);
      await service.deleteWebhook(context, callerOf(request), owner, params.webhook);
      return { deleted: { ...ofApplication(owner), webhook: params.webhook } };
    },
  });
}

/** A reply with a secret is not kept for its Idempotency-Key: sent again, the request hears that the webhook exists. */
async function keepNoReply(context: ServiceContext, request: FastifyRequest): Promise<void> {
  const { keyed } = request;
  request.keyed = null;
  if (keyed !== null) await abandonRequest(context, keyed);
}
