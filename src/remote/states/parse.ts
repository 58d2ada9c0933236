import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { nearestName } from '../../domain/nearest.ts';
import { quoted } from '../../domain/quoted.ts';
import type { RemoteScript } from '../script.ts';
import { orderByRequire, parseRequire } from './require-order.ts';
import type { State, StateContext } from './state.ts';
import { STATE_FUNCTIONS } from './table.ts';

/** The names of all state functions that are supported, sorted. */
export function supportedStateFunctions(): readonly string[] {
  return [...STATE_FUNCTIONS.keys()].sort();
}

/**
 * Read Salt's state form as JSON, in the order in which it is written: `{"id":{"cmd":[{"name":"…"},"run"]}}` or
 * `{"id":{"cmd.run":[{"name":"…"}]}}`. Without a `name` the id is the name, as Salt has it. A state that has `require`
 * comes after the states that it names.
 * (JSON objects put ids that are whole numbers first; that order is not the writer's and cannot be known here.)
 *
 * @throws {AppError} `invalid_input` with `details.supported` and, if one is near, `details.nearest`
 */
export function parseStates(json: unknown): State[] {
  const states = entries(json, 'The actions').flatMap(([id, modules]) =>
    entries(modules, `The state ${quoted(id)}`).map(([module, body]) =>
      parseState(id, module, body),
    ),
  );
  return orderByRequire(states);
}

/** What runs a state on a server. */
export function stateScript(state: State, context: StateContext): RemoteScript {
  return state.build(context);
}

/** The arguments of each supported state function as JSON Schema, for documentation. */
export function stateJsonSchemas(): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    [...STATE_FUNCTIONS].map(([name, { schema }]) => [
      name,
      z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
    ]),
  );
}

function parseState(id: string, module: string, body: unknown): State {
  const words: string[] = [];
  const given: Record<string, unknown> = {};
  for (const part of Array.isArray(body) ? body : [body]) {
    if (typeof part === 'string') words.push(part);
    else {
      for (const [name, value] of entries(part, `An argument of the state ${quoted(id)}`)) {
        if (Object.hasOwn(given, name)) {
          throw refuse(id, `The argument ${quoted(name)} is given twice; give it once.`);
        }
        given[name] = value;
      }
    }
  }
  const name = functionName(id, module, words);
  const definition = STATE_FUNCTIONS.get(name);
  if (definition === undefined) {
    const supported = supportedStateFunctions();
    const nearest = nearestName(name, supported);
    const hint = nearest === null ? '' : ` Did you mean ${quoted(nearest)}?`;
    throw refuse(
      id,
      `The function ${quoted(name)} is not supported.${hint} Supported: ${supported.join(', ')}.`,
      { function: name, supported, nearest },
    );
  }
  const { require: required = [], ...args } = given;
  const bound = definition.bind({ name: id, ...args });
  if (!bound.success) throw refuseArguments(id, name, definition.schema, bound.error);
  return {
    id,
    function: name,
    arguments: args,
    requires: parseRequire(id, required),
    build: bound.build,
  };
}

function functionName(id: string, module: string, words: readonly string[]): string {
  const [word, ...more] = words;
  if (module.includes('.')) {
    if (word === undefined) return module;
  } else if (word !== undefined && more.length === 0) return `${module}.${word}`;
  throw refuse(
    id,
    `${quoted(module)} must name one function, as in {"cmd":[{"name":"…"},"run"]} or {"cmd.run":[{"name":"…"}]}.`,
  );
}

function refuseArguments(id: string, name: string, schema: z.ZodType, error: z.ZodError): AppError {
  const supported = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  for (const issue of error.issues) {
    if (issue.code === 'unrecognized_keys') {
      const [unknown = ''] = issue.keys;
      const nearest = nearestName(unknown, supported);
      const hint = nearest === null ? '' : ` Did you mean ${quoted(nearest)}?`;
      return refuse(
        id,
        `${name} has no argument ${quoted(unknown)}.${hint} Supported: ${supported.join(', ')}.`,
        { function: name, argument: unknown, supported, nearest },
      );
    }
  }
  const [first] = error.issues;
  const argument = first?.path.map(String).join('.') ?? '';
  return refuse(
    id,
    `The argument ${quoted(argument)} of ${name}: ${first?.message ?? 'invalid'}.`,
    {
      function: name,
      argument,
      supported,
    },
  );
}

function refuse(id: string, message: string, details: Record<string, unknown> = {}): AppError {
  return new AppError('invalid_input', `In the state ${quoted(id)}: ${message}`, {
    details: { state: id, ...details },
  });
}

function entries(value: unknown, what: string): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AppError('invalid_input', `${what} must be a JSON object.`);
  }
  return Object.entries(value);
}
