import type { FastifyRequest } from 'fastify';
import { AppError } from '../../domain/errors.ts';
import { NAME_PATTERN } from '../../domain/names.ts';
import { GLOBAL_SCOPE, isAllowed } from '../../domain/permissions.ts';
import { shortened } from '../../domain/quoted.ts';
import { createRateLimit } from '../../domain/rate-limit.ts';
import { recordRefusal } from '../../services/audit.ts';
import { type AuthenticatedCaller, authenticate } from '../../services/authentication.ts';
import type { ServiceContext } from '../../services/context.ts';
import type { Api, RoutePermission } from '../fastify-types.ts';
import { redactUrl } from '../redact-url.ts';

/**
 * Lets a request through to its route only with a good token, and only if the token's user may do what the route
 * declares. A route that declares nothing makes the start fail; should one slip through, it is closed to all.
 */
export function addAuthentication(app: Api, context: ServiceContext): void {
  app.decorateRequest('caller', null);
  app.addHook('onRoute', ({ method, url, config }) => {
    const permission = config?.permission;
    if (permission === undefined) {
      throw new Error(`The route ${String(method)} ${url} does not declare its config.permission.`);
    }
    if (permission.scope === 'application' && !namesApplication(url)) {
      throw new Error(`The route ${String(method)} ${url} does not say for which application.`);
    }
  });
  app.addHook('onRequest', async (request) => {
    const tokens = takeTokens(request);
    if (request.is404) return;
    const { permission } = request.routeOptions.config;
    if (permission?.scope === 'open') return;
    const identity = await authenticate(context, onlyToken(tokens));
    request.caller = { ...identity, remoteAddress: request.ip, requestId: request.id };
    requirePermission(request, request.caller, permission);
  });
  addDenialRecords(app, context);
}

/** Writes down what was denied to somebody whom we know: the first denial of a minute. */
function addDenialRecords(app: Api, context: ServiceContext): void {
  const throttle = createRateLimit({ burst: 1, perMinute: 1 });
  app.addHook('onSend', async (request, reply) => {
    const { caller } = request;
    if (caller === null || reply.failure?.code !== 'forbidden') return;
    // Without the query, which may hold what is nobody's business.
    const [path = ''] = request.url.split('?');
    await recordRefusal(context, throttle, caller, {
      action: 'request.denied',
      application: applicationOf(request),
      subject: `${request.method} ${shortened(path)}`,
      after: { reason: reply.failure.message, details: reply.failure.details },
    });
  });
}

/** Who asks, on a route that is not open. */
export function callerOf(request: FastifyRequest): AuthenticatedCaller {
  if (request.caller === null) throw new Error('an open route asked who its caller is');
  return request.caller;
}

/** Collects all tokens that were given, and takes the one in the URL out of everything that is read later. */
function takeTokens(request: FastifyRequest): string[] {
  const { authorization, 'auth-token': header } = request.headers;
  const query: unknown = request.query;
  const tokens: string[] = [];
  if (authorization !== undefined) tokens.push(bearerToken(authorization));
  if (header !== undefined) tokens.push(String(header));
  if (typeof query === 'object' && query !== null && 'auth_token' in query) {
    tokens.push(...[query.auth_token].flat().map(String));
    delete query.auth_token;
  }
  request.raw.url = redactUrl(request.raw.url ?? '');
  return tokens;
}

function bearerToken(authorization: string): string {
  const match = /^Bearer +(\S+)$/i.exec(authorization.trim());
  return match?.[1] ?? '';
}

function onlyToken(tokens: readonly string[]): string {
  const [token, ...more] = tokens;
  if (token === undefined) {
    throw new AppError(
      'unauthenticated',
      'This needs a token; send it as `Authorization: Bearer …`, as `Auth-Token: …` or as `?auth_token=…`.',
    );
  }
  if (more.length > 0) {
    throw new AppError(
      'unauthenticated',
      'More than one token was given; send exactly one, as `Authorization: Bearer …`, as `Auth-Token: …` or as `?auth_token=…`.',
    );
  }
  if (token === '') {
    throw new AppError(
      'unauthenticated',
      'The token is empty or not of the kind Bearer; send it as `Authorization: Bearer …`.',
    );
  }
  return token;
}

function requirePermission(
  request: FastifyRequest,
  caller: AuthenticatedCaller,
  permission: RoutePermission | undefined,
): void {
  if (permission?.scope === 'authenticated') return;
  if (permission?.scope === 'global' && permission.orSelf && isSelf(request, caller)) return;
  if (permission?.scope === 'global' || permission?.scope === 'application') {
    const scope = permission.scope === 'global' ? GLOBAL_SCOPE : applicationOf(request);
    // What no application can be called there is nothing to permit for: whoever looks for it refuses it.
    if (scope === null || isAllowed(caller.permissions, scope, permission.access)) return;
    const what =
      scope === GLOBAL_SCOPE ? 'what all applications share' : `application \`${scope}\``;
    throw new AppError(
      'forbidden',
      `User \`${caller.username}\` may not ${permission.access} ${what}; ask an administrator for the permission.`,
      { details: { scope, access: permission.access } },
    );
  }
  throw new AppError('forbidden', 'Nobody may do this.');
}

function isSelf({ params }: FastifyRequest, { username }: AuthenticatedCaller): boolean {
  return (
    typeof params === 'object' && params !== null && 'user' in params && params.user === username
  );
}

/** Where `applicationOf` finds the application. */
function namesApplication(url: string): boolean {
  return url === '/app' || url.split('/').includes(':application');
}

function applicationOf(request: FastifyRequest): string | null {
  const params: unknown = request.params;
  const query: unknown = request.query;
  if (typeof params === 'object' && params !== null && 'application' in params) {
    return nameOrNull(params.application);
  }
  if (typeof query === 'object' && query !== null && 'app_name' in query) {
    return nameOrNull(query.app_name);
  }
  return null;
}

function nameOrNull(given: unknown): string | null {
  return typeof given === 'string' && NAME_PATTERN.test(given) ? given : null;
}
