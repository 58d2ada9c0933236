import { spawnSync } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../../src/transport/connection.ts';
import { connectLocal } from '../../../src/transport/local.ts';
import { createTransport } from '../../../src/transport/transport.ts';
import {
  makeTemporaryDirectory,
  type TemporaryDirectory,
} from '../../support/temporary-directory.ts';
import { availableShells, failureOf } from '../scripts/clone-lab.ts';
import { requireSshFleet, type SshLab, startSshLab } from '../ssh-lab.ts';
import { makeStateLab, type StateLab } from './state-lab.ts';

const HOSTILE_TEXT = `it's "$HOME" \`id\` $(id) \\ \\\\ \\0101 %s !! ; & | < > ünï日本\n\n-n\n\ttab`;
const isRoot = process.getuid?.() === 0;

/** What holds on every kind of server. `own` is a folder that is empty before each test. */
function contract(labOf: () => { lab: StateLab; connection: Connection }): void {
  let lab: StateLab;
  let on: (path: string) => string;
  const read = async (path: string): Promise<string> => await lab.look('cat "$1"', on(path));
  const attributes = async (path: string): Promise<string> =>
    (await lab.look('stat -c "%a %U %G" "$1"', on(path))).trim();
  const list = async (path: string): Promise<string[]> =>
    (await lab.look('ls -A "$1"', on(path))).split('\n').filter(Boolean);
  const link = async (path: string): Promise<string> =>
    (await lab.look('readlink "$1"', on(path))).trim();
  const put = async (path: string, text: string): Promise<void> => {
    await lab.look('mkdir -p "$(dirname "$1")"; printf %s "$2" >"$1"', on(path), text);
  };
  const managed = (name: string, more: object = {}): unknown => ({
    id: { file: [{ name }, more, 'managed'] },
  });
  const directory = (name: string, more: object = {}): unknown => ({
    id: { file: [{ name }, more, 'directory'] },
  });
  const absent = (name: string): unknown => ({ [name]: { file: ['absent'] } });
  const linked = (name: string, target: string, more: object = {}): unknown => ({
    [name]: { file: [{ target }, more, 'symlink'] },
  });

  afterEach(async () => {
    expect(await lab.look('find "$1" -name ".muster-*"', on('/opt'))).toBe('');
  });
  beforeEach(async () => {
    const { lab: itsLab, connection } = labOf();
    lab = itsLab;
    on = (path) => connection.pathOn(path);
    await lab.look('rm -rf "$1"; mkdir -p "$1" "$2"', on('/opt/own'), on('/opt/app'));
  });

  describe('file.managed', () => {
    it('makes a file of exactly these contents once, and leaves nothing beside it', async () => {
      const form = managed("/opt/own/a 'b' $c", { contents: HOSTILE_TEXT });
      expect(await lab.run(form)).toMatchObject({
        answer: { state: 'changed', exitCode: null, timedOut: false },
        output: expect.stringContaining("a 'b' $c has been made."),
      });
      expect(await read("/opt/own/a 'b' $c")).toBe(`${HOSTILE_TEXT}\n`);
      expect(await attributes("/opt/own/a 'b' $c")).toMatch(/^644 /);
      expect(await list('/opt/own')).toEqual(["a 'b' $c"]);
      expect(await lab.state(form)).toBe('unchanged');
    });

    it('replaces a file that differs in one piece, and keeps its mode', async () => {
      await put('/opt/own/f', 'old\n');
      await lab.look('chmod 640 "$1" && ln "$1" "$2"', on('/opt/own/f'), on('/opt/own/before'));
      expect(await lab.state(managed('/opt/own/f', { contents: 'new' }))).toBe('changed');
      expect([await read('/opt/own/f'), await read('/opt/own/before')]).toEqual(['new\n', 'old\n']);
      expect(await attributes('/opt/own/f')).toMatch(/^640 /);
      expect(await list('/opt/own')).toEqual(['before', 'f']);
    });

    it('sees a difference in line ends and in NUL bytes alone', async () => {
      const form = managed('/opt/own/f', { contents: 'a', contents_newline: false });
      for (const text of [String.raw`a\n`, String.raw`a\n\n`, String.raw`a\0`, String.raw`\0`]) {
        await lab.look('printf "$2" >"$1"', on('/opt/own/f'), text);
        expect(await lab.state(form), text).toBe('changed');
        expect(await read('/opt/own/f')).toBe('a');
        expect(await lab.state(form)).toBe('unchanged');
      }
    });

    it('writes no more than the mode if the file may not be replaced', async () => {
      await put('/opt/own/f', 'mine\n');
      const form = managed('/opt/own/f', { contents: 'x', replace: false, mode: '0600' });
      expect([await lab.state(form), await lab.state(form)]).toEqual(['changed', 'unchanged']);
      expect(await read('/opt/own/f')).toBe('mine\n');
      expect(await attributes('/opt/own/f')).toMatch(/^600 /);
    });

    it('without contents makes an empty file, and leaves one that is there', async () => {
      expect(await lab.state(managed('/opt/own/f'))).toBe('changed');
      expect(await read('/opt/own/f')).toBe('');
      await put('/opt/own/f', 'mine\n');
      expect(await lab.state(managed('/opt/own/f'))).toBe('unchanged');
      expect(await read('/opt/own/f')).toBe('mine\n');
    });

    it.skipIf(!isRoot)(
      'gives the file its owner and mode, whichever of them is wrong',
      async () => {
        const form = managed('/opt/own/f', { contents: 'x', mode: 4755, user: 'nobody', group: 1 });
        expect([await lab.state(form), await lab.state(form)]).toEqual(['changed', 'unchanged']);
        expect(await attributes('/opt/own/f')).toBe('4755 nobody daemon');
        await lab.look('chown root "$1"', on('/opt/own/f'));
        expect([await lab.state(form), await lab.state(form)]).toEqual(['changed', 'unchanged']);
        expect(await attributes('/opt/own/f')).toBe('4755 nobody daemon');
        expect(await lab.state(managed('/opt/own/f', { contents: 'y' }))).toBe('changed');
        expect(await attributes('/opt/own/f')).toBe('4755 nobody daemon');
      },
    );

    it.each([{ user: 'no-such-user' }, { group: 'no-such-group' }])(
      'leaves everything as it was if there is no such owner: %j',
      async (owner) => {
        await put('/opt/own/f', 'old\n');
        const error = await failureOf(
          lab.run(managed('/opt/own/f', { contents: 'new', ...owner })),
        );
        expect(error.code).toBe('action_failed');
        expect(error.message).toMatch(/no-such-(user|group) does not exist on this server/);
        expect(await read('/opt/own/f')).toBe('old\n');
        expect(await list('/opt/own')).toEqual(['f']);
      },
    );

    it('makes missing folders only if it is asked to', async () => {
      const error = await failureOf(lab.run(managed('/opt/own/x/y/f', { contents: 'a' })));
      expect(error.message).toMatch(/own\/x\/y does not exist on this server; .* makedirs: true/);
      expect(await list('/opt/own')).toEqual([]);
      const form = managed('/opt/own/x/y/f', { contents: 'a', makedirs: true });
      expect([await lab.state(form), await lab.state(form)]).toEqual(['changed', 'unchanged']);
    });

    it('writes what a link points to and keeps the link', async () => {
      await put('/opt/own/sub/real', 'old\n');
      await lab.look('ln -s sub/real "$1"', on('/opt/own/l'));
      expect(await lab.state(managed('/opt/own/l', { contents: 'new' }))).toBe('changed');
      expect([await read('/opt/own/sub/real'), await link('/opt/own/l')]).toEqual([
        'new\n',
        'sub/real',
      ]);
    });

    it('does not replace what is no file', async () => {
      await lab.look('mkfifo "$1"; mkdir "$2"', on('/opt/own/p'), on('/opt/own/d'));
      for (const name of ['/opt/own/p', '/opt/own/d']) {
        const error = await failureOf(lab.run(managed(name, { contents: 'a' })));
        expect(error.message).toMatch(/is on this server, but is not a file; remove it/);
      }
      expect(await list('/opt/own')).toEqual(['d', 'p']);
    });
  });

  describe('file.directory', () => {
    it('makes a folder once, and brings back its mode', async () => {
      const form = directory('/opt/own/d', { mode: '0750' });
      expect([await lab.state(form), await lab.state(form)]).toEqual(['changed', 'unchanged']);
      expect(await attributes('/opt/own/d')).toMatch(/^750 /);
      await lab.look('chmod 2777 "$1"', on('/opt/own/d'));
      expect([await lab.state(form), await lab.state(form)]).toEqual(['changed', 'unchanged']);
      expect(await attributes('/opt/own/d')).toMatch(/^750 /);
    });

    it('makes the folders above only if it is asked to, and leaves what is inside', async () => {
      expect((await failureOf(lab.run(directory('/opt/own/x/y')))).code).toBe('action_failed');
      expect(await lab.state(directory('/opt/own/x/y', { makedirs: true }))).toBe('changed');
      await put('/opt/own/x/y/f', 'mine');
      expect(await lab.state(directory('/opt/own/x/y'))).toBe('unchanged');
      expect(await read('/opt/own/x/y/f')).toBe('mine');
    });

    it('does not take the place of a file', async () => {
      await put('/opt/own/f', 'mine');
      expect((await failureOf(lab.run(directory('/opt/own/f')))).message).toContain('not a folder');
      expect(await read('/opt/own/f')).toBe('mine');
    });
  });

  describe('file.absent', () => {
    it('removes a file and a folder with all that is in it, once', async () => {
      await put('/opt/own/d/e/f', 'x');
      await put('/opt/own/f', 'x');
      for (const name of ['/opt/own/d', '/opt/own/f']) {
        expect([await lab.state(absent(name)), await lab.state(absent(name))]).toEqual([
          'changed',
          'unchanged',
        ]);
      }
      expect(await list('/opt/own')).toEqual([]);
    });

    it('removes a link, also one that leads nowhere, and not what it points to', async () => {
      await put('/opt/own/d/f', 'x');
      await lab.look('ln -s d "$1"; ln -s nothing "$2"', on('/opt/own/l'), on('/opt/own/n'));
      expect(await lab.state(absent('/opt/own/l'))).toBe('changed');
      expect(await lab.state(absent('/opt/own/n'))).toBe('changed');
      expect(await list('/opt/own')).toEqual(['d']);
      expect(await read('/opt/own/d/f')).toBe('x');
    });

    it('removes neither the clone nor what it lies in, by whatever way it is named', async () => {
      await lab.look('ln -s .. "$1"', on('/opt/own/up'));
      for (const name of ['/opt/app', '/opt/own/up/app']) {
        expect((await failureOf(lab.run(absent(name)))).message).toContain('holds the clone');
      }
      expect(await list('/opt')).toEqual(expect.arrayContaining(['app', 'own']));
    });
  });

  describe('file.symlink', () => {
    it('makes a link once, and turns one that points elsewhere, even to a folder', async () => {
      await put('/opt/own/one/f', '1');
      await put('/opt/own/two/f', '2');
      const one = linked('/opt/own/l', 'one');
      expect([await lab.state(one), await lab.state(one)]).toEqual(['changed', 'unchanged']);
      expect(await lab.state(linked('/opt/own/l', '/opt/own/two'))).toBe('changed');
      expect([await link('/opt/own/l'), await read('/opt/own/l/f')]).toEqual([
        on('/opt/own/two'),
        '2',
      ]);
      expect(await list('/opt/own')).toEqual(['l', 'one', 'two']);
      expect(await list('/opt/own/one')).toEqual(['f']);
    });

    it('may lead nowhere, and to what looks like an option', async () => {
      expect(await lab.state(linked('/opt/own/l', '-f'))).toBe('changed');
      expect(await link('/opt/own/l')).toBe('-f');
      expect(await lab.state(linked('/opt/own/l', '-n'))).toBe('changed');
      expect(await lab.state(linked('/opt/own/l', '-n'))).toBe('unchanged');
    });

    it('takes the place of a file or folder only by force', async () => {
      await put('/opt/own/d/f', 'x');
      expect((await failureOf(lab.run(linked('/opt/own/d', 't')))).message).toContain(
        'give force: true to lose it',
      );
      expect(await read('/opt/own/d/f')).toBe('x');
      expect(await lab.state(linked('/opt/own/d', 't', { force: true }))).toBe('changed');
      expect(await link('/opt/own/d')).toBe('t');
      expect(await list('/opt/own')).toEqual(['d']);
    });

    it('takes the place of the clone not even by force', async () => {
      const error = await failureOf(lab.run(linked('/opt/app', 't', { force: true })));
      expect(error.message).toContain('holds the clone');
    });

    it('makes missing folders only if it is asked to', async () => {
      expect((await failureOf(lab.run(linked('/opt/own/x/l', 't')))).code).toBe('action_failed');
      expect(await lab.state(linked('/opt/own/x/l', 't', { makedirs: true }))).toBe('changed');
    });
  });
}

/** Every function on every branch that another shell or another kind of server might take otherwise. */
async function walk(lab: StateLab, connection: Connection): Promise<void> {
  await lab.look('rm -rf "$1"; mkdir -p "$1"', connection.pathOn('/opt/own'));
  const file = "/opt/own/deep/a 'b' $c";
  const steps: [string, unknown][] = [
    ['changed', { [file]: { 'file.managed': [{ contents: HOSTILE_TEXT }, { makedirs: true }] } }],
    ['unchanged', { [file]: { 'file.managed': [{ contents: HOSTILE_TEXT }] } }],
    ['changed', { [file]: { 'file.managed': [{ contents: 'other' }, { mode: '0600' }] } }],
    ['unchanged', { [file]: { 'file.managed': [{ contents: 'other' }, { mode: '0600' }] } }],
    ['changed', { '/opt/own/d': { 'file.directory': [{ mode: '2750' }] } }],
    ['unchanged', { '/opt/own/d': { 'file.directory': [{ mode: '2750' }] } }],
    ['changed', { '/opt/own/l': { 'file.symlink': [{ target: '-n' }] } }],
    ['unchanged', { '/opt/own/l': { 'file.symlink': [{ target: '-n' }] } }],
    ['changed', { '/opt/own/d': { 'file.symlink': [{ target: 'x' }, { force: true }] } }],
    ['changed', { '/opt/own/deep': { 'file.absent': [] } }],
    ['unchanged', { '/opt/own/deep': { 'file.absent': [] } }],
  ];
  for (const [expected, form] of steps) {
    expect([await lab.state(form), form]).toEqual([expected, form]);
  }
  const seen = await lab.look('cd "$1" && ls -A && readlink l d', connection.pathOn('/opt/own'));
  expect(seen).toBe('d\nl\n-n\nx\n');
  const error = await failureOf(lab.run({ '/opt/own/no/f': { 'file.managed': [] } }));
  expect(error.message).toContain('makedirs: true');
}

/** The shells of this machine, and busybox once more with nothing but its own tools. */
async function localShells(): Promise<
  { name: string; shell: readonly string[]; tools: boolean; isFirst: boolean }[]
> {
  return (await availableShells()).flatMap((shell, n) => [
    { name: shell.join(' '), shell, tools: false, isFirst: n === 0 },
    ...(shell[1] === 'sh'
      ? [{ name: `${shell.join(' ')}, its tools alone`, shell, tools: true, isFirst: false }]
      : []),
  ]);
}

const SEARCH_PATH = process.env['PATH'] ?? '';

describe.each(await localShells())('on a local server under $name', ({ shell, tools, isFirst }) => {
  let directory: TemporaryDirectory;
  let connection: Connection;
  let lab: StateLab;
  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    const root = join(directory.path, 'root');
    await mkdir(root);
    connection = await connectLocal({ name: 'local', root, searchPath: SEARCH_PATH, shell });
    let path: string | undefined;
    if (tools) {
      path = join(directory.path, 'bin');
      await mkdir(path);
      const installed = spawnSync(shell[0] ?? '', ['--install', '-s', path]);
      expect(installed.status).toBe(0);
    }
    lab = makeStateLab(connection, { isLocal: true, path });
  });
  afterAll(async () => {
    await directory.remove();
  });

  // Each state in all its ways under one shell; the others have to understand the same scripts.
  if (isFirst) contract(() => ({ lab, connection }));

  it('does every kind of state', async () => {
    await walk(lab, connection);
  });

  it('never leaves the folder that stands for the server, not even through links', async () => {
    await lab.look('mkdir -p "$1"', connection.pathOn('/opt/own'));
    const outside = join(directory.path, 'outside');
    await mkdir(join(outside, 'd'), { recursive: true });
    await symlink(outside, connection.pathOn('/opt/own/out'));
    await symlink(join(outside, 'file'), connection.pathOn('/opt/own/out-file'));
    for (const form of [
      { '/opt/own/out/f': { 'file.managed': [{ contents: 'x' }, { makedirs: true }] } },
      { '/opt/own/out-file': { 'file.managed': [{ contents: 'x' }] } },
      { '/opt/own/out/new': { 'file.directory': [] } },
      { '/opt/own/out/d': { 'file.absent': [] } },
      { '/opt/own/out/l': { 'file.symlink': [{ target: 'x' }] } },
    ]) {
      const error = await failureOf(lab.run(form));
      expect(error.message).toContain('out of the folder that stands for this server');
    }
    expect(await lab.look('ls -A "$1"', outside)).toBe('d\n');
  });
});

describe.skipIf(!(await requireSshFleet()))('on a server over SSH', () => {
  const transport = createTransport();
  let ssh: SshLab;
  let connection: Connection;
  let lab: StateLab;
  beforeAll(async () => {
    ssh = await startSshLab(['web01']);
    connection = await transport.connect(ssh.target('web01'));
    lab = makeStateLab(connection, { isLocal: false });
  });
  beforeEach(async () => {
    await ssh.fleet.inspect('web01', 'rm -rf /opt/own && mkdir -p /opt/own /opt/app');
  });
  afterEach(async () => {
    expect((await ssh.fleet.inspect('web01', 'find /opt -name ".muster-*"')).stdout).toBe('');
  });
  afterAll(async () => {
    await transport.close();
    await ssh.close();
  });

  it('does every kind of state', async () => {
    await walk(lab, connection);
  });

  it('removes nothing right below / that its name does not say', async () => {
    await ssh.fleet.inspect('web01', 'ln -s / /opt/own/top && touch /srv/kept');
    const error = await failureOf(lab.run({ '/opt/own/top/srv': { file: ['absent'] } }));
    expect(error.message).toContain('is /srv by a link and is not removed');
    expect((await ssh.fleet.inspect('web01', 'ls /srv')).stdout).toBe('kept\n');
  });

  it('writes the longest contents that are taken', async () => {
    const contents = '\n'.repeat(16_384);
    const form = { '/opt/own/f': { 'file.managed': [{ contents }] } };
    expect([await lab.state(form), await lab.state(form)]).toEqual(['changed', 'unchanged']);
    expect((await ssh.fleet.inspect('web01', 'wc -c </opt/own/f')).stdout).toBe('16384\n');
  });
});
