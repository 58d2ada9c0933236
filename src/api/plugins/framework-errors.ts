import type { FastifyReply, FastifyRequest } from 'fastify';
import { redactUrl } from '../redact-url.ts';
import { sendError } from './errors.ts';
import { PROTECTION } from './headers.ts';

/** For Fastify's `frameworkErrors`: answers a request that comes to no route and to no hook, such as a broken URL. */
export function sendFrameworkError(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  reply.headers({ ...PROTECTION, 'x-request-id': request.id, 'cache-control': 'no-store' });
  sendError(thrown, request, reply);
  request.log.info(
    {
      method: request.method,
      url: redactUrl(request.raw.url ?? ''),
      status: reply.statusCode,
      remoteAddress: request.ip,
      error: reply.failure?.code,
    },
    'request',
  );
}
