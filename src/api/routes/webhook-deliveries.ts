import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/webhook-deliveries.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { ofApplication, toWebhookDelivery } from '../resources/webhooks.ts';
import { pageOf } from '../schemas/parameters.ts';
import { DeliveriesQuery, WebhookDelivery, WebhookDeliveryList } from '../schemas/webhooks.ts';
import { ownerOf, type WebhookScope } from './webhook-scope.ts';

const tags = ['webhooks'];

type Place = service.WebhookPlace;

const placeOf = (params: { application?: string | undefined; webhook: string }): Place => ({
  owner: ownerOf(params),
  webhook: params.webhook,
});

const pathOf = ({ owner, webhook }: Place, delivery: string): string =>
  `${owner === null ? '/global' : `/app/${owner}`}/webhooks/${webhook}/deliveries/${delivery}`;

/** What was sent to a webhook, and sending it again. */
export function addWebhookDeliveryRoutes(
  app: Api,
  context: ServiceContext,
  { base, whose, read, write, paths }: WebhookScope,
): void {
  const url = `${base}/:webhook/deliveries`;
  app.route({
    method: 'GET',
    url,
    config: read,
    schema: {
      summary: `List the deliveries of a webhook ${whose}, newest first`,
      tags,
      params: paths.one,
      querystring: DeliveriesQuery,
      response: { 200: WebhookDeliveryList },
    },
    handler: async ({ params, query }) => {
      const place = placeOf(params);
      const page = { ...pageOf(query), status: query.status };
      const { rows, next } = await service.listDeliveries(context, place, page);
      return {
        ...ofApplication(place.owner),
        webhook: place.webhook,
        deliveries: query.details
          ? rows.map((row) => toWebhookDelivery(place, row))
          : rows.map(({ id }) => id),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'GET',
    url: `${url}/:delivery`,
    config: read,
    schema: {
      summary: `Show a delivery of a webhook ${whose}`,
      tags,
      params: paths.delivery,
      response: { 200: WebhookDelivery },
    },
    handler: async ({ params }) => {
      const place = placeOf(params);
      return toWebhookDelivery(place, await service.getDelivery(context, place, params.delivery));
    },
  });

  app.route({
    method: 'POST',
    url: `${url}/:delivery/resend`,
    config: write,
    schema: {
      summary: `Send a message again to a webhook ${whose}`,
      tags,
      params: paths.delivery,
      response: { 202: WebhookDelivery },
    },
    handler: async (request, reply) => {
      const place = placeOf(request.params);
      const { delivery } = request.params;
      const made = await service.resendDelivery(context, callerOf(request), place, delivery);
      return reply
        .code(202)
        .header('location', pathOf(place, made.id))
        .send(toWebhookDelivery(place, made));
    },
  });

  app.route({
    method: 'POST',
    url: `${base}/:webhook/ping`,
    config: write,
    schema: {
      summary: `Send a message that tells nothing to a webhook ${whose}`,
      tags,
      params: paths.one,
      response: { 202: WebhookDelivery },
    },
    handler: async (request, reply) => {
      const place = placeOf(request.params);
      const made = await service.pingWebhook(context, callerOf(request), place);
      return reply
        .code(202)
        .header('location', pathOf(place, made.id))
        .send(toWebhookDelivery(place, made));
    },
  });
}
