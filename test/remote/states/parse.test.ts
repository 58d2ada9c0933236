import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { AppError } from '../../../src/domain/errors.ts';
import {
  parseStates,
  stateJsonSchemas,
  stateScript,
  supportedStateFunctions,
} from '../../../src/remote/states/parse.ts';
import type { StateContext } from '../../../src/remote/states/state.ts';

const REMOTE: StateContext = { path: '/opt/app', isLocal: false, pathOn: (path) => path };
const LOCAL: StateContext = {
  path: '/srv/root/opt/app',
  isLocal: true,
  pathOn: (path) => `/srv/root${path}`,
};

const describedSchema = z.object({
  type: z.literal('object'),
  additionalProperties: z.literal(false),
  properties: z.record(z.string(), z.object({ description: z.string() })),
});

function thrown(act: () => unknown): AppError {
  try {
    act();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

function scriptArgs(form: unknown, context: StateContext = REMOTE): readonly string[] {
  const [state] = parseStates(form);
  if (state === undefined) throw new Error('no state');
  return stateScript(state, context).args;
}

/** What is said against one function's arguments. */
function refusal(name: string, ...args: unknown[]): string {
  return thrown(() => parseStates({ id: { [name]: args } })).message;
}

describe('parseStates', () => {
  it('reads the actions of the seed document’s complex example as they stand', () => {
    const actions = {
      prepull: { stop_apache: { service: [{ name: 'httpd' }, 'dead'] } },
      postpull: { start_apache: { service: [{ name: 'httpd' }, 'running'] } },
    };
    expect(parseStates(actions.prepull)).toMatchObject([
      { id: 'stop_apache', function: 'service.dead', arguments: { name: 'httpd' } },
    ]);
    expect(parseStates(actions.postpull)).toMatchObject([
      { id: 'start_apache', function: 'service.running', arguments: { name: 'httpd' } },
    ]);
  });

  it('reads the seed document’s terse form, where the id is the name', () => {
    expect(scriptArgs({ httpd: { service: ['running'] } })).toEqual(['httpd', 'up', '']);
  });

  it('supports exactly the functions that are promised', () => {
    expect(supportedStateFunctions()).toEqual([
      'cmd.run',
      'file.absent',
      'file.directory',
      'file.managed',
      'file.symlink',
      'pkg.installed',
      'pkg.removed',
      'service.dead',
      'service.disabled',
      'service.enabled',
      'service.running',
    ]);
  });

  it('describes every argument in the JSON Schema of its function', () => {
    for (const [name, schema] of Object.entries(stateJsonSchemas())) {
      const { properties } = describedSchema.parse(schema);
      for (const [argument, { description }] of Object.entries(properties)) {
        expect(description, `${name} ${argument}`).toMatch(/\.$/);
      }
    }
  });

  it.each([
    ['service.running', { watch: [{ file: '/etc/httpd.conf' }] }],
    ['service.enabled', { enable: true }],
    ['file.absent', { force: true }],
    ['file.managed', { template: 'jinja' }],
    ['pkg.removed', { version: '1' }],
  ])('refuses for %s an argument that it does not have: %j', (name, argument) => {
    const [unknown = ''] = Object.keys(argument);
    expect(refusal(name, { name: '/opt/x' }, argument)).toContain(
      `${name} has no argument \`${unknown}\``,
    );
  });
});

describe('service', () => {
  it.each(['-x', 'a b', 'a;b', '', 'a/b', '$(x)', 'a\nb'])('refuses the name %j', (name) => {
    expect(refusal('service.running', { name })).toContain('must be the name of a service');
  });

  it.each(['getty@tty1', String.raw`dev-disk\x2d1.mount`, 'php8.2-fpm'])('takes %s', (name) => {
    expect(scriptArgs({ id: { 'service.dead': [{ name }, { enable: false }] } })).toEqual([
      name,
      'down',
      'false',
    ]);
  });

  it('says what enabled and disabled want of the start alone', () => {
    expect(scriptArgs({ a: { service: ['enabled'] } })).toEqual(['a', '', 'true']);
    expect(scriptArgs({ a: { service: ['disabled'] } })).toEqual(['a', '', 'false']);
  });
});

describe('file', () => {
  it.each(['relative', '/a/../b', '/a/./b', '/a\nb', ''])('refuses the path %j', (name) => {
    expect(refusal('file.managed', { name })).toContain('The argument `name` of file.managed');
  });

  it.each(['/', '//', '/etc', '/usr/', '/var', '/opt', '/opt/app/.git', '/opt/app/.git/hooks'])(
    'refuses to remove %s or to make it a link',
    (name) => {
      const because = 'must not be /, a folder of the system such as /etc, or in a .git folder';
      expect(refusal('file.absent', { name })).toContain(because);
      expect(refusal('file.symlink', { name }, { target: 'x' })).toContain(because);
    },
  );

  it('says what to do instead of `source`', () => {
    expect(refusal('file.managed', { name: '/x' }, { source: 'salt://x' })).toMatch(
      /`source` of file\.managed: there is no Salt file server here; give the text as `contents`/,
    );
  });

  it.each([
    [644, '0644'],
    ['644', '0644'],
    ['0644', '0644'],
    ['02755', '2755'],
    ['1777', '1777'],
  ])('reads the mode %j as %s', (mode, expected) => {
    expect(scriptArgs({ '/x': { 'file.managed': [{ mode }] } })[3]).toBe(expected);
  });

  it.each(['u+x', '0888', '64', 99, '', '12345'])('refuses the mode %j', (mode) => {
    expect(refusal('file.directory', { name: '/x' }, { mode })).toContain('must be octal digits');
  });

  it.each([
    ['a', {}, 'a\n'],
    ['a\n', {}, 'a\n'],
    ['', {}, ''],
    ['a\r\n\n', { contents_newline: false }, 'a'],
    [['a', '', 'b'], {}, 'a\n\nb\n'],
  ])('ends the contents %j with %j as %j', (contents, more, expected) => {
    expect(scriptArgs({ '/x': { 'file.managed': [{ contents }, more] } })[7]).toBe(expected);
  });

  it('refuses contents that could not be sent', () => {
    expect(refusal('file.managed', { name: '/x' }, { contents: 'ä'.repeat(8193) })).toContain(
      'must not be over 16384 bytes; put a larger file into the build',
    );
    expect(refusal('file.managed', { name: '/x' }, { contents: '\0' })).toContain('NUL');
  });

  it.each(['-rf', 'a:b', '$(id)', 'a b', '-1'])('refuses the owner %j', (user) => {
    expect(refusal('file.managed', { name: '/x' }, { user })).toContain('a name or a number');
  });

  it('names every path, also that of a link’s absolute target, below the root of a local server', () => {
    const form = { l: { file: ['symlink', { name: '/opt/l' }, { target: '/opt//t' }] } };
    expect(scriptArgs(form, LOCAL)).toEqual([
      '/srv/root',
      '/srv/root/opt/l',
      'false',
      '/srv/root/opt/t',
      'false',
      '/srv/root/opt/app',
    ]);
    expect(scriptArgs(form, REMOTE).slice(0, 4)).toEqual(['', '/opt/l', 'false', '/opt/t']);
  });

  it('leaves the target of a relative link as it is', () => {
    const form = { '/opt/l': { 'file.symlink': [{ target: '../t' }] } };
    expect(scriptArgs(form, LOCAL)[3]).toBe('../t');
  });

  it('refuses a target that no local server could be given', () => {
    expect(refusal('file.symlink', { name: '/x/l' }, { target: '/x/../y' })).toContain('`target`');
  });
});

describe('pkg', () => {
  it.each(['nginx-', '-y', 'a b', '*', 'nginx=1', '@web', 'a/b', './a.deb', ''])(
    'refuses the name %j',
    (name) => {
      expect(refusal('pkg.installed', { name })).toContain('must be the name of a package');
      expect(refusal('pkg.removed', { pkgs: [name] })).toContain('must be the name of a package');
    },
  );

  it('gives name and version as one argument', () => {
    const form = { web: { pkg: ['installed', { name: 'g++' }, { version: '4:12.2.0-3' }] } };
    expect(scriptArgs(form)).toEqual(['install', '', 'g++=4:12.2.0-3']);
  });

  it('takes a list of packages, with versions or without, under an id that is no package', () => {
    const pkgs = ['nginx', { curl: '7.88' }, 'nginx'];
    expect(scriptArgs({ 'the web!': { 'pkg.installed': [{ pkgs }, { refresh: false }] } })).toEqual(
      ['install', 'false', 'nginx', 'curl=7.88'],
    );
    expect(scriptArgs({ 'the web!': { 'pkg.removed': [{ pkgs: ['nginx'] }] } })).toEqual([
      'remove',
      '',
      'nginx',
    ]);
  });

  it.each(['latest', '>=1', '-1', '1 2', '*'])('refuses the version %j', (version) => {
    expect(refusal('pkg.installed', { name: 'nginx' }, { version })).toContain('one exact version');
  });

  it('refuses one version for a list of packages', () => {
    expect(refusal('pkg.installed', { pkgs: ['a1', 'b1'] }, { version: '1' })).toContain(
      'with pkgs write {"name":"version"} in the list',
    );
  });
});

describe('stateScript', () => {
  it.each([
    'service.running',
    'service.dead',
    'service.enabled',
    'service.disabled',
    'pkg.installed',
    'pkg.removed',
  ])('refuses %s on a local server, where it would mean Muster’s own machine', (name) => {
    const error = thrown(() => scriptArgs({ httpd: { [name]: [] } }, LOCAL));
    expect(error.code).toBe('action_failed');
    expect(error.message).toContain(`${name} cannot run on a local server`);
  });

  it('has the same text for every call, whatever the arguments', () => {
    const text = (name: string): string => {
      const [state] = parseStates({ [name]: { file: ['absent'] } });
      return state === undefined ? '' : stateScript(state, REMOTE).text;
    };
    expect(text('/opt/$(reboot)')).toBe(text('/opt/b'));
  });
});
