import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endRunsScript, followRunScript } from '../../src/remote/run-folder.ts';
import { defineScript, type RemoteScript } from '../../src/remote/script.ts';
import { parseStates, stateScript } from '../../src/remote/states/parse.ts';
import type { Connection, SshAddress } from '../../src/transport/connection.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { requirePart } from '../support/parts.ts';
import { failureOf } from './scripts/clone-lab.ts';
import { requireSshFleet, type SshLab, startSshLab } from './ssh-lab.ts';

/** One user that may use sudo, one that must give a password for it, and a log of what sudo was asked for. */
const SET_UP = `
  cp -a /etc /run/etc && mount --bind /run/etc /etc && echo '127.0.0.1 web01' >>/etc/hosts
  for user in deploy guest; do
    useradd --no-log-init -M -d /home/$user -s /bin/sh -p '*' $user && mkdir -p /home/$user/.ssh
    cp /root/.ssh/authorized_keys /home/$user/.ssh/ && chown -R $user: /home/$user
  done
  printf '%s\\n' 'Defaults logfile=/run/sudo.log' 'deploy ALL=(ALL) NOPASSWD: ALL' 'guest ALL=(ALL) ALL' >/etc/sudoers.d/test
  chmod 440 /etc/sudoers.d/test`;

const script = (text: string, ...args: string[]): RemoteScript =>
  defineScript({ name: 'probe', text, args });
const asRoot = { timeoutMs: 60_000, asRoot: true };

const canRun = (await requireSshFleet()) && requirePart('sudo');

describe.skipIf(!canRun)('a server whose user becomes root', () => {
  const transport = createTransport();
  let lab: SshLab;
  const connect = async (changes: Partial<SshAddress>): Promise<Connection> =>
    await transport.connect(lab.target('web01', { become: true, ...changes }));

  beforeAll(async () => {
    lab = await startSshLab(['web01']);
    const done = await lab.fleet.inspect('web01', SET_UP);
    if (done.exitCode !== 0) throw new Error(done.stderr);
  });
  afterAll(async () => {
    await transport.close();
    await lab.close();
  });

  it('runs as root what asks for it, and nothing else', async () => {
    const connection = await connect({ user: 'deploy' });
    const probe = script('echo "$(id -un) $HOME"');
    expect((await connection.run(probe, asRoot)).stdout).toBe('root /root\n');
    expect((await connection.run(probe, { ...asRoot, asRoot: false })).stdout).toBe(
      'deploy /home/deploy\n',
    );
    const plain = await connect({ user: 'deploy', become: false });
    expect((await plain.run(probe, asRoot)).stdout).toBe('deploy /home/deploy\n');
  });

  it('needs no sudo where the user is root already', async () => {
    const connection = await connect({ user: 'root' });
    expect(await connection.run(script('id -un; exit 3'), asRoot)).toEqual({
      exitCode: 3,
      signal: null,
      stdout: 'root\n',
      stderr: '',
    });
  });

  it('gives a script its arguments, environment and exit code, whatever is in them', async () => {
    const connection = await connect({ user: 'deploy' });
    const args = ['', "it's", '"$HOME" `id` \\ %s !! ; & |', 'a\nb\n', 'ünï日本', '-n', '\t\u001b'];
    const probe = {
      ...script(
        'printf "%s" "$SECRET"; for a in "$@"; do printf "%s\\0" "$a"; done; exit 9',
        ...args,
      ),
      env: { SECRET: 'hush $HOME' },
    };
    expect(await connection.run(probe, asRoot)).toEqual({
      exitCode: 9,
      signal: null,
      stdout: `hush $HOME${args.join('\0')}\0`,
      stderr: '',
    });
    const { stdout } = await lab.fleet.inspect('web01', 'cat /run/sudo.log');
    expect(stdout).toContain('COMMAND=');
    expect(stdout).not.toContain('hush');
  });

  it('gives a script no input', async () => {
    const connection = await connect({ user: 'deploy' });
    expect((await connection.run(script('cat; echo end'), asRoot)).stdout).toBe('end\n');
  });

  it('says whom sudo refuses, and what to do', async () => {
    const connection = await connect({ user: 'guest' });
    const error = await failureOf(connection.run(script('id -un'), asRoot));
    expect(error).toMatchObject({
      code: 'become_refused',
      retryable: false,
      details: { server: 'web01', user: 'guest', reason: expect.stringContaining('password') },
    });
    expect(error.message).toContain('guest ALL=(ALL) NOPASSWD: ALL');
  });

  it('ends as root what it began as root', async () => {
    const connection = await connect({ user: 'deploy' });
    const abort = new AbortController();
    const running = connection.run(
      script('trap "touch /srv/cleaned; exit 1" TERM; sleep 4243 & echo ready; wait'),
      { ...asRoot, signal: abort.signal, onOutput: () => abort.abort(new Error('enough')) },
    );
    await expect(running).rejects.toThrow('enough');
    await expect
      .poll(async () => (await lab.fleet.inspect('web01', 'test -e /srv/cleaned')).exitCode)
      .toBe(0);
    const left = 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "';
    await expect
      .poll(async () => (await lab.fleet.inspect('web01', left)).stdout)
      .not.toContain('sleep 4243');
  });

  it('follows as root what runs detached, and ends it', async () => {
    const connection = await connect({ user: 'deploy' });
    const gitDir = '/home/deploy/app/.git';
    await connection.run(script('mkdir -p "$1"', gitDir), { timeoutMs: 20_000 });
    const ask = async (text: string): Promise<string> => {
      const request = { gitDir, step: 'step', name: `prepull-${text.length}`, fence: 1, offset: 0 };
      const follow = followRunScript({ ...request, script: script(text) });
      return (await connection.run(follow, { ...asRoot, timeoutMs: 120_000 })).stdout;
    };
    expect(await ask('id -un; echo "$HOME"')).toBe('root\n/root\n');
    const sleeping = ask('touch /srv/sleeps; sleep 4244');
    await expect
      .poll(async () => (await lab.fleet.inspect('web01', 'test -e /srv/sleeps')).exitCode, {
        timeout: 60_000,
      })
      .toBe(0);
    const ended = await connection.run(endRunsScript({ gitDir, fence: 1 }), {
      ...asRoot,
      timeoutMs: 120_000,
    });
    expect(ended.stdout).toBe('{"ok":true,"ended":1}\n');
    expect(await sleeping).toContain('"code":"action_interrupted"');
    // The fence belongs to root now, and who owns the clone can read it.
    const left = await connection.run(script('ls -A "$1"; cat "$1/muster-fence"', gitDir), {
      timeoutMs: 20_000,
    });
    expect(left.stdout).toBe('muster-fence\n1\n');
  });

  it('does states as root', async () => {
    const connection = await connect({ user: 'deploy' });
    const forms = {
      folder: { file: [{ name: '/srv/owned' }, { user: 'root' }, { mode: '0700' }, 'directory'] },
      say: { cmd: [{ name: 'id -un >/srv/owned/who' }, 'run'] },
      other: {
        cmd: [{ name: 'id -un >/tmp/.who-$$ && rm /tmp/.who-$$' }, { runas: 'guest' }, 'run'],
      },
    };
    for (const state of parseStates(forms)) {
      const built = stateScript(state, { path: '/opt/app', isLocal: false, pathOn: (p) => p });
      const ended = await connection.run(built, asRoot);
      expect(ended.stdout, ended.stderr).toContain('"state":"changed"');
    }
    expect((await lab.fleet.inspect('web01', 'cat /srv/owned/who')).stdout).toBe('root\n');
  });
});
