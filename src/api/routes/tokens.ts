import type { ServiceContext } from '../../services/context.ts';
import { createLoginGuard } from '../../services/login-guard.ts';
import * as service from '../../services/tokens.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toCreatedToken, toToken } from '../resources/tokens.ts';
import { DeletedReply } from '../schemas/common.ts';
import { DeleteQuery, HistoryQuery, pageOf } from '../schemas/parameters.ts';
import { CreatedToken, CreateTokenBody, Token, TokenList, TokenPath } from '../schemas/tokens.ts';

const tags = ['tokens'];
const own = { permission: { scope: 'authenticated' } } as const;
const DEFAULT_PAGE = 100;

export function addTokenRoutes(app: Api, context: ServiceContext): void {
  const guard = createLoginGuard();

  app.route({
    method: 'POST',
    url: '/global/tokens',
    config: { permission: { scope: 'open' } },
    schema: {
      summary: 'Log in: make a token by username and password',
      description:
        'The token is shown only now. Wrong logins are limited for each username and each address: 429 with `Retry-After`. An `Idempotency-Key` has no effect here, as the reply is not kept. A user may have so many tokens at once as the setting MUSTER_TOKENS_PER_USER says, those that have expired not counted: 409 beyond.',
      tags,
      body: CreateTokenBody,
      response: { 201: CreatedToken },
    },
    handler: async (request, reply) => {
      const { expires_in: expiresInSeconds, ...login } = request.body;
      const origin = { remoteAddress: request.ip, requestId: request.id };
      const created = await service.logIn(
        context,
        { guard, origin },
        { ...login, expiresInSeconds },
      );
      return reply
        .code(201)
        .header('location', `/global/tokens/${created.row.id}`)
        .send(toCreatedToken(created));
    },
  });

  app.route({
    method: 'GET',
    url: '/global/tokens',
    config: own,
    schema: {
      summary: "List the caller's own tokens, newest first, without their secrets",
      tags,
      querystring: HistoryQuery,
      response: { 200: TokenList },
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const { limit = DEFAULT_PAGE, after } = pageOf(request.query);
      const { rows, next } = await service.listTokens(context, caller, { limit, after });
      return {
        tokens: rows.map((row) => toToken(row, caller.tokenId)),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/global/tokens/:token',
    config: own,
    schema: {
      summary: "Show one of the caller's own tokens, without its secret",
      tags,
      params: TokenPath,
      response: { 200: Token },
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const token = await service.getToken(context, caller, request.params.token);
      return toToken(token, caller.tokenId);
    },
  });

  app.route({
    method: 'DELETE',
    url: '/global/tokens/:token',
    config: own,
    schema: {
      summary: "End one of the caller's own tokens, or, who may write `_global`, anybody's",
      tags,
      params: TokenPath,
      querystring: DeleteQuery,
      response: { 200: DeletedReply },
    },
    handler: async (request) => {
      const { token } = request.params;
      await service.deleteToken(context, callerOf(request), token);
      return { deleted: { token } };
    },
  });
}
