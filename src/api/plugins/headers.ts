import helmet from '@fastify/helmet';
import type { Api } from '../fastify-types.ts';

/** What helmet sets, for the few replies that no hook sees; a test holds the two together. */
export const PROTECTION = {
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** For replies that no browser shows as a page. A page says in its route's `helmet` what it needs. */
const NOTHING = { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] };

/**
 * Security headers of every reply. Strict-Transport-Security is left to the proxy that ends TLS: sent over plain HTTP
 * it means nothing, and only the operator knows whether the whole host is meant.
 */
export async function addHeaders(app: Api): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: NOTHING },
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-request-id', request.id);
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    done(null, payload);
  });
}

/** The policy of pages that load scripts, styles and images from Muster alone and talk to it alone. */
export const PAGE_POLICY = {
  useDefaults: false,
  directives: {
    'default-src': ["'none'"],
    'script-src': ["'self'"],
    // Swagger UI sets styles on its elements.
    'style-src': ["'self'", "'unsafe-inline'"],
    'img-src': ["'self'", 'data:'],
    'connect-src': ["'self'"],
    'base-uri': ["'none'"],
    'form-action': ["'none'"],
    'frame-ancestors': ["'none'"],
  },
};
