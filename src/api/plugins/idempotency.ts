import { createHmac } from 'node:crypto';
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError, type ErrorCode } from '../../domain/errors.ts';
import type { ServiceContext } from '../../services/context.ts';
import {
  abandonRequest,
  beginRequest,
  type KeptReply,
  type KeyedRequest,
  keepReply,
} from '../../services/idempotency.ts';
import type { Api } from '../fastify-types.ts';
import { untilGone } from '../settle-job.ts';
import { hashUpload } from '../upload-source.ts';

const KEY = /^[\x21-\x7e]{1,255}$/;
/** What a reply must say again the second time. */
const KEPT_HEADERS = ['content-type', 'location'] as const;
/** Errors that say nothing about the request: the same one may succeed later. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set([
  'internal',
  'service_unavailable',
  'storage_failed',
  'too_many_requests',
  'upload_incomplete',
]);

/**
 * Makes a POST or PUT with an `Idempotency-Key` happen once: sent again within 24 hours it gets the first reply,
 * marked `Idempotency-Replayed: true`; while the first is under way it waits for that reply. Keys are each user's own. What fails before the handler (bad token, bad
 * input) and what fails by no fault of the request takes no key. Source: API.md, "Conventions".
 *
 * What is uploaded is part of the request: of a repeat it is read to its end and compared by its SHA-256, and only then
 * is the first reply sent again. An upload that was refused before it was all there is not known, so it takes no key; a
 * reply for which nothing was read holds whatever is sent along.
 */
export function addIdempotency(app: Api, context: ServiceContext): void {
  app.decorateRequest('keyed', null);
  app.decorateRequest('upload', null);
  app.addHook('preHandler', async (request, reply) => {
    const keyed = keyedRequest(request, context.config.secretKey);
    if (keyed === null) return;
    const readContent = (): Promise<string | null> =>
      hashUpload(request, context.config.upload.maxBytes);
    const first = await untilGone(reply, (signal) =>
      beginRequest(context, keyed, { signal, readContent }),
    );
    if (first === null) {
      request.keyed = keyed;
      return;
    }
    // A string goes out as it is, past the schema that it was once made by.
    await reply
      .code(first.statusCode)
      .headers({ ...first.headers, 'idempotency-replayed': 'true' })
      .send(first.body);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const { keyed, upload } = request;
    if (keyed === null) return;
    request.keyed = null;
    const isUnknown = upload !== null && upload.sha256 === null;
    try {
      // A stream can be sent only once; the routes that send one change nothing.
      if (isTransient(reply) || isUnknown || payload instanceof Readable) {
        await abandonRequest(context, keyed);
      } else {
        const kept = { reply: keptReply(reply, payload), contentSha256: upload?.sha256 ?? null };
        await keepReply(context, keyed, kept);
      }
    } catch (error) {
      // What the request was for is done, and its caller must hear so.
      request.log.warn({ err: error }, 'the reply could not be kept for its Idempotency-Key');
    }
  });
}

function keyedRequest(request: FastifyRequest, secretKey: Buffer): KeyedRequest | null {
  const key = request.headers['idempotency-key'];
  const isRepeatable = request.method === 'POST' || request.method === 'PUT';
  if (key === undefined || !isRepeatable || request.caller === null) return null;
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw new AppError(
      'invalid_input',
      'The Idempotency-Key must be 1 to 255 visible ASCII characters, such as a UUID.',
    );
  }
  return { userId: request.caller.userId, key, requestHash: hashRequest(request, secretKey) };
}

/** Keyed, as the body may hold a password, which nobody must find by trying words against the stored hash. */
function hashRequest(request: FastifyRequest, secretKey: Buffer): string {
  const body =
    request.routeOptions.config.body === 'stream'
      ? [request.headers['content-type']?.split(';')[0], request.headers['content-length']]
      : request.body;
  const [path] = request.url.split('?');
  return createHmac('sha256', secretKey)
    .update(JSON.stringify([request.method, path, request.query, body ?? null]))
    .digest('hex');
}

function isTransient({ failure }: FastifyReply): boolean {
  return failure !== null && (failure.retryable || TRANSIENT.has(failure.code));
}

function keptReply(reply: FastifyReply, payload: unknown): KeptReply {
  const headers: Record<string, string> = {};
  for (const name of KEPT_HEADERS) {
    const value = reply.getHeader(name);
    if (value !== undefined) headers[name] = String(value);
  }
  return {
    statusCode: reply.statusCode,
    headers,
    body: typeof payload === 'string' ? payload : '',
  };
}
