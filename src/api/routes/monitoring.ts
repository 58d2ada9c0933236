import { z } from 'zod';
import type { MetricsPage } from '../../metrics/metrics.ts';
import type { Api } from '../fastify-types.ts';
import type { Health } from './root.ts';

const open = { permission: { scope: 'open' } } as const;
const part = z.enum(['up', 'down']).meta({ description: 'Whether it can be used.' });
const Parts = z
  .object({ database: part, queue: part, storage: part })
  .meta({ id: 'Health', description: 'The parts that Muster needs.' });

/** `GET /healthz` and `/readyz`, open to anybody, and `/metrics`, for who may read what all applications share. */
export function addMonitoringRoutes(
  app: Api,
  options: { readonly checkHealth: () => Promise<Health>; readonly metrics: MetricsPage },
): void {
  app.route({
    method: 'GET',
    url: '/healthz',
    config: open,
    schema: {
      summary: 'Say that the process lives',
      tags: ['root'],
      response: {
        200: z.object({ status: z.literal('ok').meta({ description: 'Always `ok`.' }) }),
      },
    },
    handler: () => ({ status: 'ok' as const }),
  });

  app.route({
    method: 'GET',
    url: '/readyz',
    config: open,
    schema: {
      summary: 'Say whether all parts can be used: 200, or 503 if one is down',
      tags: ['root'],
      response: { 200: Parts, 503: Parts },
    },
    handler: async (_request, reply) => {
      const health = await options.checkHealth();
      const isReady = Object.values(health).every((state) => state === 'up');
      return reply.code(isReady ? 200 : 503).send(health);
    },
  });

  app.route({
    method: 'GET',
    url: '/metrics',
    config: { permission: { scope: 'global', access: 'read' } },
    schema: {
      summary: 'Show the metrics of this process and the state of all work, for Prometheus',
      description:
        'Needs a token whose user may read `_global`. docs/operations.md explains the metrics.',
      tags: ['root'],
      produces: ['text/plain'],
      response: { 200: z.string().meta({ description: 'Prometheus text format 0.0.4.' }) },
    },
    handler: async (_request, reply) => {
      const text = await options.metrics.render();
      return reply.type(options.metrics.contentType).send(text);
    },
  });
}
