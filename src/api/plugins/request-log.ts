import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Api } from '../fastify-types.ts';

type Level = 'error' | 'warn' | 'info' | 'debug';

/**
 * One line per request, at the level of who must act. The URL has lost its token by then. `location` holds the id of
 * the job that the request started, under which the worker's lines are found.
 */
export function addRequestLog(app: Api): void {
  app.addHook('onResponse', (request, reply, done) => {
    const level = levelOf(request, reply);
    request.log[level](
      {
        method: request.method,
        url: request.url,
        status: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime),
        username: request.caller?.username,
        remoteAddress: request.ip,
        location: reply.getHeader('location'),
        error: reply.failure?.code,
        // Of what nobody foresaw the log has to tell all; the reply says nothing of it.
        ...(level === 'error' ? { err: reply.failure?.cause ?? reply.failure } : {}),
      },
      'request',
    );
    done();
  });
}

/** Requests that only look, which somebody may send every second, are the ones to be silent about. */
function levelOf(request: FastifyRequest, reply: FastifyReply): Level {
  if (reply.failure?.code === 'internal') return 'error';
  if (reply.statusCode >= 500) return 'warn';
  const { permission } = request.routeOptions.config;
  const isLooking = request.method === 'GET' || request.method === 'HEAD';
  if (isLooking && (permission?.scope === 'open' || reply.statusCode < 400)) return 'debug';
  return 'info';
}
