import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { AppError } from '../domain/errors.ts';

/** The form field that an archive comes in. Source: API.md, "Builds". */
const FIELD = 'build';

/** How long the rest of a refused upload is thrown away before the connection is. */
const DISCARD_MS = 10_000;

/**
 * The bytes of the archive that a request carries: the file in the form field `build`, or the body itself.
 * Nothing is read before this is called, and nothing is buffered.
 * @throws {AppError} `invalid_input` if there is none
 */
export async function openUpload(request: FastifyRequest): Promise<Readable> {
  request.upload = { sha256: null };
  if (!request.isMultipart()) return openBody(request);
  for await (const part of request.parts()) {
    if (part.fieldname !== FIELD) {
      throw missing(`The form has a field \`${part.fieldname}\``, { field: part.fieldname });
    }
    if (part.type === 'file') return part.file;
    throw missing('The form field `build` holds text');
  }
  throw missing('The form has no field `build`');
}

/**
 * Reads an upload to its end and keeps nothing of it.
 * @returns its SHA-256, or null if it has more than `maxBytes`, of which the rest is not read
 * @throws {AppError} `invalid_input` if there is none, `upload_incomplete` if the sender broke off
 */
export async function hashUpload(
  request: FastifyRequest,
  maxBytes: number,
): Promise<string | null> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const source = await openUpload(request);
  try {
    for await (const chunk of source) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBytes) return null;
      hash.update(chunk);
    }
  } catch (error) {
    throw new AppError(
      'upload_incomplete',
      'The upload broke off before its end, so it could not be compared with the first one of its Idempotency-Key; send it again.',
      { cause: error },
    );
  }
  return hash.digest('hex');
}

/**
 * Throws away what is left of an upload that was answered before its end. Nobody reads it any more, so that the
 * connection would stand still for ever, and its end would never be seen. A client that listens gets its answer
 * and stops; one that does not is cut off after a while.
 */
export function discardRest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  const timer = setTimeout(() => request.destroy(), DISCARD_MS);
  request.once('close', () => clearTimeout(timer));
  // The form parser may hang on it still, and hold it back.
  request.unpipe();
  request.resume();
}

function openBody(request: FastifyRequest): Readable {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  const isEmpty = encoding === undefined && (length === undefined || length === '0');
  if (isEmpty) throw missing('The request has no body');
  return detached(request.raw);
}

/** Whoever reads the body may destroy it, but not with it the connection, on which the answer is still to go. */
function detached(request: IncomingMessage): Readable {
  const body = new PassThrough();
  // Without a listener an error that comes before anybody reads would end the process.
  body.on('error', () => undefined);
  request.once('error', (error) => body.destroy(error));
  request.once('close', () => {
    if (!request.readableEnded) body.destroy(new Error('the client has gone away'));
  });
  body.once('close', () => request.unpipe(body));
  return request.pipe(body);
}

function missing(what: string, details: Readonly<Record<string, unknown>> = {}): AppError {
  return new AppError(
    'invalid_input',
    `${what}; send the archive as the file of the form field \`build\` (curl -F build=@build.zip) or as the body (curl --data-binary @build.zip).`,
    { details },
  );
}
