import { describe, expect, it } from 'vitest';
import { AppError } from '../../src/domain/errors.ts';
import { parseStates, stateJsonSchemas, stateScript } from '../../src/remote/states/parse.ts';
import type { StateContext } from '../../src/remote/states/state.ts';

function refusalOf(json: unknown): AppError {
  try {
    parseStates(json);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

/** A server that is reached over SSH. */
const on = (path: string): StateContext => ({ path, isLocal: false, pathOn: (one) => one });

describe('parseStates', () => {
  it('reads both of Salt’s forms, in the order in which they are written', () => {
    const states = parseStates({
      stop: { cmd: [{ name: 'stop app' }, { cwd: '/x' }, 'run'] },
      build: { 'cmd.run': [{ name: 'make' }, { timeout: '20' }] },
      'echo hello': { 'cmd.run': [] },
    });
    expect(states.map(({ id, function: name }) => [id, name])).toEqual([
      ['stop', 'cmd.run'],
      ['build', 'cmd.run'],
      ['echo hello', 'cmd.run'],
    ]);
    const [, , implicit] = states.map((state) => stateScript(state, on('/opt/app')).args);
    expect(implicit?.slice(0, 2)).toEqual(['/opt/app', 'echo hello']);
  });

  it('reads env as an object and as a list of objects, numbers and booleans as text', () => {
    const list = parseStates({ a: { 'cmd.run': [{ env: [{ A: 1 }, { B: true }] }] } });
    const object = parseStates({ a: { 'cmd.run': [{ env: { A: '1', B: 'true' } }] } });
    const args = [list, object].map(([state]) => state?.build(on('/p')).args.slice(8));
    expect(args).toEqual([
      ['A=1', 'B=true'],
      ['A=1', 'B=true'],
    ]);
  });

  it('never puts what the operator wrote into the script’s text', () => {
    const [one] = parseStates({ a: { 'cmd.run': [{ name: 'one' }] } });
    const [two] = parseStates({
      b: { 'cmd.run': [{ name: "two'; rm -rf /" }, { runas: 'www' }, { creates: '/$(id)' }] },
    });
    expect(one?.build(on('/p')).text).toBe(two?.build(on('/q')).text);
  });

  it('refuses an unknown function, lists what there is and names the nearest', () => {
    const error = refusalOf({ a: { cmd: [{ name: 'x' }, 'runn'] } });
    expect(error.code).toBe('invalid_input');
    expect(error.details).toMatchObject({
      state: 'a',
      function: 'cmd.runn',
      supported: expect.arrayContaining(['cmd.run']),
      nearest: 'cmd.run',
    });
    expect(refusalOf({ a: { git: [{ name: 'x' }, 'latest'] } }).details).toMatchObject({
      function: 'git.latest',
    });
  });

  it('refuses an unknown argument and names the nearest', () => {
    const error = refusalOf({ a: { 'cmd.run': [{ name: 'x' }, { timout: 3 }] } });
    expect(error.details).toMatchObject({ argument: 'timout', nearest: 'timeout' });
  });

  it.each([
    ['no object', []],
    ['a state that is none', { a: 'cmd.run' }],
    ['no function', { a: { cmd: [{ name: 'x' }] } }],
    ['two functions', { a: { cmd: ['run', 'run'] } }],
    ['an argument twice', { a: { 'cmd.run': [{ name: 'x' }, { name: 'y' }] } }],
    ['a relative cwd', { a: { 'cmd.run': [{ cwd: 'x' }] } }],
    ['a time that is none', { a: { 'cmd.run': [{ timeout: 0 }] } }],
    ['a user that looks like an option', { a: { 'cmd.run': [{ runas: '-x' }] } }],
    ['an impossible variable', { a: { 'cmd.run': [{ env: { 'A B': 'x' } }] } }],
  ])('refuses %s', (_what, json) => {
    expect(refusalOf(json).code).toBe('invalid_input');
  });

  it('describes its arguments as JSON Schema', () => {
    expect(stateJsonSchemas()).toMatchObject({
      'cmd.run': { type: 'object', required: ['name'], additionalProperties: false },
    });
  });
});
