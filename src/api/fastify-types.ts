import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { AppError } from '../domain/errors.ts';
import type { Access } from '../domain/permissions.ts';
import type { AuthenticatedCaller } from '../services/authentication.ts';
import type { KeyedRequest } from '../services/idempotency.ts';

/** The Fastify instance with zod schemas; what every route file works on. */
export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/**
 * Who may call a route. `open`: anybody. `authenticated`: whoever has a token; the handler shows only what the
 * caller may see. `global`: what belongs to no application; with `orSelf` also the user that the path names as
 * `:user`. `application`: the one named by the path, or by `app_name` where it is yet to be made.
 */
export type RoutePermission =
  | { readonly scope: 'open' }
  | { readonly scope: 'authenticated' }
  | { readonly scope: 'global'; readonly access: Access; readonly orSelf?: true }
  | { readonly scope: 'application'; readonly access: Access };

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Without it Muster does not start. */
    permission?: RoutePermission;
    /** `json` (default), or `stream` where the handler reads an upload by itself. */
    body?: 'json' | 'stream';
    /** Answer with an ETag, and with 304 to an If-None-Match that names it. */
    etag?: boolean;
  }
  interface FastifyInstance {
    /** Aborted when Muster begins to stop, so that nobody is kept waiting. */
    stopping: AbortSignal;
  }
  interface FastifyRequest {
    /** Null on open routes. */
    caller: AuthenticatedCaller | null;
    /** Set while the request holds an Idempotency-Key. */
    keyed: KeyedRequest | null;
    /** Set once the upload in the body is being read; the SHA-256 is null until all of it is there. */
    upload: { readonly sha256: string | null } | null;
  }
  interface FastifyReply {
    /** The error that this reply tells of. */
    failure: AppError | null;
  }
}
