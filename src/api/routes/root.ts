import { z } from 'zod';
import type { Api } from '../fastify-types.ts';
import { openApiDocument } from '../openapi.ts';

/** Whether each part that Muster needs can be used. */
export type Health = Readonly<Record<'database' | 'queue' | 'storage', 'up' | 'down'>>;

const open = { permission: { scope: 'open' } } as const;

/** `GET /` and `/openapi.json`: open to anybody. */
export function addRootRoutes(app: Api, { version }: { readonly version: string }): void {
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
    handler: () => ({ name: 'muster' as const, version }),
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
}
