import { z } from 'zod';
import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';
import { nearestName } from '../domain/nearest.ts';
import { quoted, quotedList, shortened } from '../domain/quoted.ts';

type Issue = z.core.$ZodIssue;

/** What zod found wrong with one part of a request. */
export interface FailedPart {
  /** As messages call it. */
  readonly part: 'path' | 'query' | 'body';
  readonly schema: z.ZodType;
  readonly value: unknown;
  readonly issues: readonly Issue[];
}

/** One thing that is wrong, as `details.problems` tells it. */
interface Problem {
  readonly in: FailedPart['part'];
  readonly parameter: string;
  readonly problem: string;
  readonly nearest?: string;
}

/** One error for everything that is wrong with a request. A misspelt key often makes another one missing, so it decides the code. */
export function toValidationError(parts: readonly FailedPart[]): AppError {
  const unknown = parts.flatMap((part) =>
    part.issues.flatMap(narrowed).flatMap((issue) => unknownKeys(part, issue)),
  );
  const wrong = parts.flatMap((part) =>
    part.issues
      .flatMap(narrowed)
      .flatMap((issue) => (issue.code === 'unrecognized_keys' ? [] : [wrongValue(part, issue)])),
  );
  const problems = [...unknown, ...wrong];
  const sentence = problems.map(({ parameter, problem }) => `${parameter} ${problem}`).join('; ');
  return new AppError(unknown.length > 0 ? 'unknown_parameter' : 'invalid_input', `${sentence}.`, {
    details: { problems },
  });
}

/**
 * Of what fits no alternative of a union: what keeps it from the one that is of its kind, such as an object where a
 * list or an object may stand; the issue itself if there is not just one.
 */
function narrowed(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const ofItsKind = issue.errors.filter(
    (issues) => !issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0),
  );
  const [only, ...others] = ofItsKind;
  if (only === undefined || others.length > 0) return [issue];
  return only.flatMap((inner) => narrowed({ ...inner, path: [...issue.path, ...inner.path] }));
}

function unknownKeys({ part, schema, value }: FailedPart, issue: Issue): Problem[] {
  if (issue.code !== 'unrecognized_keys') return [];
  const known = keysAt({ schema, value }, issue.path);
  return issue.keys.map((key) => {
    const nearest = nearestName(key, known) ?? known.find((name) => isPartOf(key, name));
    const hint =
      nearest !== undefined
        ? `did you mean \`${nearest}\`?`
        : known.length === 0
          ? 'there is none here'
          : `known are ${quotedList(known)}`;
    return {
      in: part,
      parameter: quoted([...issue.path, shortened(key)].join('.')),
      problem: `is not a ${part === 'body' ? 'key of the body' : 'parameter'} (${hint})`,
      ...(nearest === undefined ? {} : { nearest }),
    };
  });
}

/** `name` for `app_name` is too many letters away for `nearestName`. */
function isPartOf(key: string, name: string): boolean {
  return key.length > 2 && (name.includes(key.toLowerCase()) || key.toLowerCase().includes(name));
}

function wrongValue({ part, value }: FailedPart, issue: Issue): Problem {
  const given = issue.path.reduce<unknown>(memberOf, value);
  const path = issue.path.map(String).join('.');
  return {
    in: part,
    parameter: path === '' ? `The ${part}` : quoted(path),
    problem: describe(issue, given, part),
  };
}

function describe(issue: Issue, given: unknown, part: FailedPart['part']): string {
  if (given === undefined) return 'is missing';
  if (part === 'query' && Array.isArray(given)) return 'must be given once';
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${withArticle(issue.expected)}, not ${kindOf(given)}`;
    case 'invalid_value':
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${quotedList(issue.values.map(String))}`;
    case 'too_small':
      return Number(issue.minimum) === 1 && UNITS[issue.origin] !== undefined
        ? 'must not be empty'
        : `must ${amount(issue.origin, 'at least', issue.minimum)}`;
    case 'too_big':
      return `must ${amount(issue.origin, 'at most', issue.maximum)}`;
    default:
      return issue.message;
  }
}

const KINDS: Readonly<Record<string, string>> = {
  record: 'an object',
  object: 'an object',
  array: 'a list',
  int: 'a whole number',
  boolean: 'true or false',
};

function withArticle(kind: string): string {
  return KINDS[kind] ?? `a ${kind}`;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return withArticle(Array.isArray(value) ? 'array' : typeof value);
}

/** What the size of a thing is counted in; of what is not here, the value itself is meant. */
const UNITS: Readonly<Record<string, readonly [one: string, many: string]>> = {
  string: ['character', 'characters'],
  array: ['entry', 'entries'],
  set: ['entry', 'entries'],
};

function amount(origin: string, bound: string, limit: number | bigint): string {
  const unit = UNITS[origin];
  return unit === undefined ? `be ${bound} ${limit}` : `have ${bound} ${counted(limit, ...unit)}`;
}

function memberOf(value: unknown, key: PropertyKey): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

/** A schema and what was given for it. */
interface Part {
  readonly schema: unknown;
  readonly value: unknown;
}

/** The keys that a schema knows at a path; none where it cannot be told. */
function keysAt(part: Part, path: readonly PropertyKey[]): string[] {
  const places = path.reduce<Part[]>(
    (parts, key) => parts.flatMap((each) => membersOf(each, key)),
    [part],
  );
  return [...new Set(places.flatMap(plainSchemas).flatMap((schema) => shapeOf(schema)))];
}

function shapeOf(schema: unknown): string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function membersOf(part: Part, key: PropertyKey): Part[] {
  const value = memberOf(part.value, key);
  return plainSchemas(part).flatMap((schema) => {
    if (schema instanceof z.ZodObject) return [{ schema: schema.shape[String(key)], value }];
    if (schema instanceof z.ZodRecord) return [{ schema: schema.valueType, value }];
    return schema instanceof z.ZodArray ? [{ schema: schema.element, value }] : [];
  });
}

/** What a schema comes to without what is wrapped around it; more than one if there are alternatives. */
function plainSchemas({ schema, value }: Part): unknown[] {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodExactOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault
  ) {
    return plainSchemas({ schema: schema.unwrap(), value });
  }
  if (schema instanceof z.ZodPipe) {
    return [schema.in, schema.out].flatMap((each) => plainSchemas({ schema: each, value }));
  }
  if (!(schema instanceof z.ZodUnion)) return [schema];
  const alternatives = schema.options.flatMap((each) => plainSchemas({ schema: each, value }));
  if (!(schema instanceof z.ZodDiscriminatedUnion)) return alternatives;
  // The one that was meant, as its discriminator says; it was found, or no key of it would have been looked at.
  const { discriminator } = schema.def;
  const chosen = memberOf(value, discriminator);
  return alternatives.filter((each) => {
    if (!(each instanceof z.ZodObject)) return false;
    const tag: unknown = each.shape[discriminator];
    return tag instanceof z.ZodType && tag.safeParse(chosen).success;
  });
}
