import { z } from 'zod';
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
  const unknown = parts.flatMap((part) => part.issues.flatMap((issue) => unknownKeys(part, issue)));
  const wrong = parts.flatMap((part) =>
    part.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' ? [] : [wrongValue(part, issue)],
    ),
  );
  const problems = [...unknown, ...wrong];
  const sentence = problems.map(({ parameter, problem }) => `${parameter} ${problem}`).join('; ');
  return new AppError(unknown.length > 0 ? 'unknown_parameter' : 'invalid_input', `${sentence}.`, {
    details: { problems },
  });
}

function unknownKeys({ part, schema }: FailedPart, issue: Issue): Problem[] {
  if (issue.code !== 'unrecognized_keys') return [];
  const known = keysAt(schema, issue.path);
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
  const given = issue.path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
    value,
  );
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
      return `must ${sized(issue.origin)} at least ${issue.minimum}${unit(issue.origin)}`;
    case 'too_big':
      return `must ${sized(issue.origin)} at most ${issue.maximum}${unit(issue.origin)}`;
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

const sized = (origin: string): string => (unit(origin) === '' ? 'be' : 'have');

function unit(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' || origin === 'set' ? ' entries' : '';
}

/** The keys that an object schema knows at a path; none where it cannot be told. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const [key, ...rest] = path;
  const objects = objectsOf(schema);
  if (key === undefined) return [...new Set(objects.flatMap((o) => Object.keys(o.shape)))];
  return [
    ...new Set(
      objects.flatMap((o) => {
        const inner: unknown = o.shape[String(key)];
        return inner instanceof z.ZodType ? keysAt(inner, rest) : [];
      }),
    ),
  ];
}

function objectsOf(schema: unknown): z.ZodObject[] {
  if (schema instanceof z.ZodObject) return [schema];
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodExactOptional ||
    schema instanceof z.ZodDefault
  ) {
    return objectsOf(schema.unwrap());
  }
  if (schema instanceof z.ZodPipe) return [...objectsOf(schema.in), ...objectsOf(schema.out)];
  return schema instanceof z.ZodUnion ? schema.options.flatMap(objectsOf) : [];
}
