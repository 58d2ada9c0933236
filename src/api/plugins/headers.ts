import helmet from '@fastify/helmet';
import type { Api } from '../fastify-types.ts';

/**
 * What helmet sets, worked out once: made anew it would be a good part of a small request. For replies that no browser
 * shows as a page. A test holds it to what helmet sets on the pages.
 */
export const PROTECTION = {
  'Content-Security-Policy': "default-src 'none';frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Origin-Agent-Cluster': '?1',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-DNS-Prefetch-Control': 'off',
  'X-Download-Options': 'noopen',
  'X-Frame-Options': 'DENY',
  'X-Permitted-Cross-Domain-Policies': 'none',
  'X-XSS-Protection': '0',
} as const;

/**
 * Security headers of every reply. Strict-Transport-Security is left to the proxy that ends TLS: sent over plain HTTP
 * it means nothing, and only the operator knows whether the whole host is meant.
 */
export function addHeaders(app: Api): void {
  const protection = Object.entries(PROTECTION);
  app.addHook('onRequest', (_request, reply, done) => {
    // On the response itself, where they hold also for a reply that is sent past Fastify.
    for (const [name, value] of protection) reply.raw.setHeader(name, value);
    done();
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('x-request-id', request.id);
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    done(null, payload);
  });
}

/** Security headers of the pages that are added to `scope`, in place of those of other replies. */
export async function addPageHeaders(scope: Api): Promise<void> {
  await scope.register(helmet, {
    contentSecurityPolicy: PAGE_POLICY,
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
  });
}

/** The policy of pages that load scripts, styles and images from Muster alone and talk to it alone. */
const PAGE_POLICY = {
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
