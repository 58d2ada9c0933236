import type { Api } from '../fastify-types.ts';

/** One line per request: what changes something at `info`, the rest at `debug`. The URL has lost its token by then. */
export function addRequestLog(app: Api): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff');
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    done(null, payload);
  });
  app.addHook('onResponse', (request, reply, done) => {
    const level = request.method === 'GET' || request.method === 'HEAD' ? 'debug' : 'info';
    request.log[level](
      {
        method: request.method,
        url: request.url,
        status: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime),
        username: request.caller?.username,
        error: reply.failure?.code,
      },
      'request',
    );
    done();
  });
}
