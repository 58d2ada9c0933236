import type { IncomingMessage } from 'node:http';
import { AppError } from '../../domain/errors.ts';
import type { Api } from '../fastify-types.ts';
import { findJsonFault, placeOf } from '../json-fault.ts';

/** Enough for the names of ten thousands of servers. */
export const BODY_LIMIT_BYTES = 4 * 1024 * 1024;

const isForm = (type: string | undefined): boolean =>
  type !== undefined && /^\s*multipart\/form-data\b/i.test(type);

/**
 * Reads every body as JSON, whatever its Content-Type says: `curl -d` calls it a form. Source: API.md,
 * "Conventions". Routes with `config.body: 'stream'` read theirs by themselves.
 */
export function addJsonBodies(app: Api): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      if (isForm(request.headers['content-type'])) {
        throw new AppError(
          'invalid_input',
          'Only the upload of a build takes a form; send a JSON object as the body.',
        );
      }
      done(null, parseJson(body));
    } catch (error) {
      done(error instanceof Error ? error : new Error('the body cannot be read'), undefined);
    }
  });
  // Fastify refuses a malformed Content-Type before any parser sees it; here the header decides nothing.
  app.addHook('onRequest', (request, _reply, done) => {
    const { headers }: IncomingMessage = request.raw;
    if (request.routeOptions.config.body !== 'stream' && !isForm(headers['content-type'])) {
      delete headers['content-type'];
    }
    done();
  });
}

/** @throws {AppError} `invalid_json`, saying where. An empty body is undefined. */
export function parseJson(body: Uint8Array | string): unknown {
  const text = typeof body === 'string' ? body : decode(body);
  if (text.trim() === '') return undefined;
  const fault = findJsonFault(text);
  if (fault === null) return JSON.parse(text);
  const place = placeOf(text, fault.offset);
  throw new AppError(
    'invalid_json',
    `The body is not valid JSON: ${fault.reason} (line ${place.line}, column ${place.column}).`,
    { details: place },
  );
}

function decode(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (cause) {
    throw new AppError('invalid_json', 'The body is not UTF-8; send JSON in UTF-8.', { cause });
  }
}
