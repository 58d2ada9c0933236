import { listAuditEvents } from '../../services/audit.ts';
import type { ServiceContext } from '../../services/context.ts';
import type { Api } from '../fastify-types.ts';
import { toAuditEvent } from '../resources/audit.ts';
import { AuditEventList, AuditQuery } from '../schemas/audit.ts';

export function addAuditRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/audit',
    config: { permission: { scope: 'global', access: 'read' } },
    schema: {
      summary: 'List who changed what, newest first',
      tags: ['audit'],
      querystring: AuditQuery,
      response: { 200: AuditEventList },
    },
    handler: async (request) => {
      const { user: username, limit, ...filter } = request.query;
      const { rows, next } = await listAuditEvents(context, { username, ...filter }, limit);
      return { events: rows.map(toAuditEvent), ...(next === null ? {} : { next }) };
    },
  });
}
