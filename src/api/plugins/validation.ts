import type { FastifyRequest } from 'fastify';
import { serializerCompiler } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { quoted } from '../../domain/quoted.ts';
import type { Api } from '../fastify-types.ts';
import { type FailedPart, toValidationError } from '../validation-problems.ts';

const NOTHING = z.strictObject({});

/**
 * Checks path, query and body of every request with the route's zod schemas, and reports everything that is
 * wrong with them at once. A part for which the route has no schema must be empty: what is not read is refused,
 * so that a misspelt parameter never does nothing in silence.
 */
export function addValidation(app: Api): void {
  // Fastify checks the parts one after the other and stops at the first; the hook below does all of it.
  app.setValidatorCompiler(() => (value) => ({ value }));
  app.setSerializerCompiler(serializerCompiler);
  app.addHook('preValidation', (request, _reply, done) => {
    if (!request.is404) validate(request);
    done();
  });
}

function validate(request: FastifyRequest): void {
  const { schema, config } = request.routeOptions;
  const failed: FailedPart[] = [];
  const read = (part: FailedPart['part'], given: unknown, declared: unknown): unknown => {
    const partSchema = declared instanceof z.ZodType ? declared : NOTHING;
    const parsed = partSchema.safeParse(given);
    if (parsed.success) return parsed.data;
    failed.push({ part, schema: partSchema, value: given, issues: parsed.error.issues });
    return given;
  };
  refuseNul({ ...Object(request.params), ...Object(request.query) });
  const params = read('path', request.params, schema?.params);
  const query = read('query', { ...Object(request.query) }, schema?.querystring);
  const readsBody = config.body !== 'stream';
  const body = readsBody ? read('body', bodyOf(request, schema?.body), schema?.body) : undefined;
  const [first] = failed;
  if (first?.part === 'path') throw unknownPath(first);
  if (first !== undefined) throw toValidationError(failed);
  request.params = params;
  request.query = query;
  if (readsBody) request.body = body;
}

/** Without a schema an absent body is as good as an empty object; requests like GET have none at all. */
function bodyOf(request: FastifyRequest, schema: unknown): unknown {
  return schema === undefined ? (request.body ?? {}) : request.body;
}

/** A path whose parts cannot be what they should be names nothing. */
function unknownPath({ issues, value }: FailedPart): AppError {
  const key = issues[0]?.path[0];
  // A route with a wildcard and no schema for it: what is wrong is no part that has a name.
  if (typeof key !== 'string' || typeof value !== 'object' || value === null) {
    return new AppError(
      'not_found',
      'There is nothing at this path; GET /openapi.json lists all there is.',
    );
  }
  const given = String(Reflect.get(value, key) ?? '').slice(0, 160);
  return new AppError('not_found', `There is no ${key} ${quoted(given)}.`, {
    details: { kind: key, name: given },
  });
}

/** PostgreSQL takes no NUL in any text, not even to say that it has no such row. */
function refuseNul(values: Readonly<Record<string, unknown>>): void {
  const bad = Object.keys(values).find(
    (key) => key.includes('\0') || String(values[key]).includes('\0'),
  );
  if (bad === undefined) return;
  throw new AppError(
    'invalid_input',
    `\`${bad.replaceAll('\0', '\u{fffd}')}\` holds a NUL character; take it out.`,
  );
}
