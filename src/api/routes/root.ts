import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import type { Api } from '../fastify-types.ts';
import { openApiDocument } from '../openapi.ts';

/** Whether each part that Muster needs answers. */
export interface Health {
  readonly database: 'up' | 'down';
  readonly queue: 'up' | 'down';
  readonly storage: 'up' | 'down';
}

const open = { permission: { scope: 'open' } } as const;
const part = z.enum(['up', 'down']).meta({ description: 'Whether it answers.' });
const Parts = z
  .object({ database: part, queue: part, storage: part })
  .meta({ id: 'Health', description: 'The parts that Muster needs.' });

/** `GET /`, `/healthz`, `/readyz` and `/openapi.json`: open to anybody. */
export function addRootRoutes(
  app: Api,
  options: { version: string; checkHealth: () => Promise<Health> },
): void {
  app.route({
    method: 'GET',
    url: '/',
    config: open,
    schema: {
      summary: 'Say who answers',
      tags: ['root'],
      response: {
        200: z.object({
          name: z.literal('muster').meta({ description: 'Always `muster`.' }),
          version: z.string().meta({ description: 'Version of Muster.' }),
        }),
      },
    },
    handler: () => ({ name: 'muster' as const, version: options.version }),
  });

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
      summary: 'Say whether all parts are up: 200, or 503 if one is down',
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
    url: '/openapi.json',
    config: { ...open, etag: true },
    schema: { hide: true },
    handler: (_request, reply) => {
      reply.type('application/json; charset=utf-8');
      return JSON.stringify(openApiDocument(app));
    },
  });

  // Kept for the page that shows the document; until then its URL says where the document is.
  app.route({
    method: 'GET',
    url: '/docs',
    config: open,
    schema: { hide: true },
    handler: () => {
      throw new AppError(
        'not_found',
        'The documentation page is not installed; GET /openapi.json has all of it.',
      );
    },
  });
}
