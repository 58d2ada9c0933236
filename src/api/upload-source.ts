import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { AppError } from '../domain/errors.ts';

/** The form field that an archive comes in. Source: API.md, "Builds". */
const FIELD = 'build';

/**
 * The bytes of the archive that a request carries: the file in the form field `build`, or the body itself.
 * Nothing is read before this is called, and nothing is buffered.
 * @throws {AppError} `invalid_input` if there is none
 */
export async function openUpload(request: FastifyRequest): Promise<Readable> {
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

function openBody(request: FastifyRequest): Readable {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  const isEmpty = encoding === undefined && (length === undefined || length === '0');
  if (isEmpty) throw missing('The request has no body');
  return request.raw;
}

function missing(what: string, details: Readonly<Record<string, unknown>> = {}): AppError {
  return new AppError(
    'invalid_input',
    `${what}; send the archive as the file of the form field \`build\` (curl -F build=@build.zip) or as the body (curl --data-binary @build.zip).`,
    { details },
  );
}
