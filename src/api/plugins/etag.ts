import { createHash } from 'node:crypto';
import type { Api } from '../fastify-types.ts';

/** Gives the replies of routes with `config.etag` an ETag, and answers 304 to who has that one already. */
export function addEtags(app: Api): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    const wants = request.routeOptions.config.etag === true && reply.statusCode === 200;
    if (!wants || typeof payload !== 'string') return done(null, payload);
    const etag = `"${createHash('sha256').update(payload).digest('base64url')}"`;
    reply.header('etag', etag).header('cache-control', 'no-cache');
    if (!isKnown(request.headers['if-none-match'], etag)) return done(null, payload);
    reply.code(304).removeHeader('content-type').removeHeader('content-length');
    return done(null, null);
  });
}

/** Source: RFC 9110, 13.1.2: weak comparison, so `W/` makes no difference. */
function isKnown(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const known = header.split(',').map((one) => one.trim().replace(/^W\//, ''));
  return known.includes('*') || known.includes(etag);
}
