import { AppError } from '../../domain/errors.ts';
import { quoted } from '../../domain/quoted.ts';
import type { Requisite, State } from './state.ts';

/**
 * Reads Salt's `require`: a list of `{"pkg":"httpd"}`, of ids, or one of these alone.
 * @throws {AppError} `invalid_input`
 */
export function parseRequire(id: string, value: unknown): Requisite[] {
  return [value].flat().flatMap((item): Requisite[] => {
    if (typeof item === 'string') return [{ module: null, name: item }];
    const pairs: [string, unknown][] =
      typeof item === 'object' && item !== null ? Object.entries(item) : [];
    const read = pairs.flatMap(([module, name]) =>
      typeof name === 'string' ? [{ module, name }] : [],
    );
    if (read.length > 0 && read.length === pairs.length) return read;
    throw new AppError(
      'invalid_input',
      `In the state ${quoted(id)}: \`require\` names other states, as in {"require":[{"pkg":"httpd"}]} or {"require":["other_id"]}.`,
      { details: { state: id } },
    );
  });
}

/**
 * Puts every state behind those that it requires, and leaves the rest in the order in which it was written. As the
 * first failure ends the run, a state never runs after one that it requires has failed.
 * @throws {AppError} `invalid_input` for a requisite that is no state of the list, and for a circle
 */
export function orderByRequire(states: readonly State[]): State[] {
  const ordered: State[] = [];
  const visiting: State[] = [];
  const visit = (state: State): void => {
    if (ordered.includes(state)) return;
    if (visiting.includes(state)) {
      const circle = [...visiting.slice(visiting.indexOf(state)), state].map((s) => quoted(s.id));
      throw refuse(state, `it requires itself: ${circle.join(' → ')}. Take one \`require\` out.`);
    }
    visiting.push(state);
    for (const requisite of state.requires) {
      const required = states.filter((other) => isMeant(other, requisite));
      if (required.length === 0) {
        throw refuse(
          state,
          `it requires ${describe(requisite)}, which is no state beside it; there are ${states.map((s) => quoted(s.id)).join(', ')}.`,
        );
      }
      for (const other of required) visit(other);
    }
    visiting.pop();
    ordered.push(state);
  };
  for (const state of states) visit(state);
  return ordered;
}

function isMeant(state: State, { module, name }: Requisite): boolean {
  if (module !== null && !state.function.startsWith(`${module}.`)) return false;
  return state.id === name || state.arguments['name'] === name;
}

function describe({ module, name }: Requisite): string {
  return module === null ? quoted(name) : `${module} ${quoted(name)}`;
}

function refuse(state: State, because: string): AppError {
  return new AppError('invalid_input', `In the state ${quoted(state.id)}: ${because}`, {
    details: { state: state.id },
  });
}
