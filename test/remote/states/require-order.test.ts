import { describe, expect, it } from 'vitest';
import { AppError } from '../../../src/domain/errors.ts';
import { parseStates } from '../../../src/remote/states/parse.ts';

const idsOf = (form: unknown): string[] => parseStates(form).map(({ id }) => id);
const run = (require?: unknown) => ({
  'cmd.run': [{ name: 'true' }, ...(require === undefined ? [] : [{ require }])],
});

describe('require', () => {
  it('puts a state behind those that it requires, and leaves the rest as it was written', () => {
    expect(
      idsOf({
        start: { service: [{ name: 'httpd' }, 'running', { require: [{ pkg: 'web' }, 'config'] }] },
        note: run(),
        config: { file: [{ name: '/etc/x' }, 'managed', { require: [{ pkg: 'httpd' }] }] },
        web: { pkg: [{ name: 'httpd' }, 'installed'] },
        last: run(),
      }),
    ).toEqual(['web', 'config', 'start', 'note', 'last']);
  });

  it.each([
    ['one id', 'b'],
    ['one object', { cmd: 'b' }],
    ['a list of both', ['b', { cmd: 'b' }]],
  ])('may be %s', (_what, require) => {
    expect(idsOf({ a: run(require), b: run() })).toEqual(['b', 'a']);
  });

  it('means a state by its module: one of another module is not it', () => {
    expect(() => idsOf({ a: run([{ service: 'b' }]), b: run() })).toThrow(/service `b`.*`a`, `b`/);
  });

  it.each([
    [
      'a state that is not there',
      { a: run('nope'), b: run() },
      /requires `nope`.*there are `a`, `b`/,
    ],
    ['itself', { a: run('a') }, /requires itself: `a` → `a`/],
    ['a circle', { a: run('b'), b: run('c'), c: run('a') }, /`a` → `b` → `c` → `a`/],
    ['what is no name', { a: run([7]) }, /`require` names other states/],
    ['an empty object', { a: run([{}]) }, /`require` names other states/],
  ])('refuses %s', (_what, form, message) => {
    const parse = () => idsOf(form);
    expect(parse).toThrow(AppError);
    expect(parse).toThrow(message);
  });
});
