import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { fingerprintOf } from '../../src/transport/host-key.ts';
import { requirePart } from '../support/parts.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { requireSshFleet } from '../transport/ssh-lab.ts';
import { startWorkingApi, type WorkingApi } from './working-api.ts';

/** Users of web01 alone: `deploy` may use sudo, `guest` has to give a password for it. */
const MAKE_USERS = `
  cp -a /etc /run/etc && mount --bind /run/etc /etc && echo '127.0.0.1 web01' >>/etc/hosts
  for user in deploy guest; do
    useradd --no-log-init -M -d /home/$user -s /bin/sh -p '*' $user && mkdir -p /home/$user/.ssh
    cp /root/.ssh/authorized_keys /home/$user/.ssh/ && chown -R $user: /home/$user
  done
  printf '%s\\n' 'deploy ALL=(ALL) NOPASSWD: ALL' 'guest ALL=(ALL) ALL' >/etc/sudoers.d/test
  chmod 440 /etc/sudoers.d/test && chown deploy /srv`;

const canRun = (await requireSshFleet()) && requirePart('sudo');

describe.skipIf(!canRun)('a check of a server by SSH', () => {
  let api: WorkingApi;
  let fleet: SshFleet;
  let directory: TemporaryDirectory;

  const hostKeyOf = (name: string): string =>
    fleet.servers.find((one) => one.name === name)?.hostKey ?? '';
  const connectionTo = (name: string, more: object = {}): object => {
    const { host, port } = fleet.servers.find((one) => one.name === name) ?? {};
    return { connection: { kind: 'ssh', host, port, user: 'root', keypair: 'kp', ...more } };
  };
  const register = (name: string, more: object = {}): Promise<unknown> =>
    api.must('PUT', `/server?name=${name}&environment=production`, connectionTo(name, more));
  const patch = (name: string, body: object): Promise<unknown> =>
    api.must('PATCH', `/server/${name}`, body);
  const pinnedKey = async (name: string): Promise<string | null> =>
    (await api.must('GET', `/server/${name}`)).connection.host_key;
  const connectionsOn = async (name: string): Promise<number> => {
    const count = 'grep -l "^sshd: root" /proc/[0-9]*/cmdline 2>/dev/null | wc -l';
    return Number((await fleet.inspect(name, count)).stdout);
  };

  beforeAll(async () => {
    api = await startWorkingApi();
    directory = await makeTemporaryDirectory();
    const { public_key: key } = await api.must('PUT', '/global/keypairs?name=kp&generate=true');
    fleet = await startSshFleet({
      names: ['jump01', 'web01', 'web02'],
      directory: directory.path,
      authorizedKeys: [key],
    });
    const made = await fleet.inspect('web01', MAKE_USERS);
    if (made.exitCode !== 0) throw new Error(made.stderr);
    await register('jump01');
    await register('web01', { jump: 'jump01' });
    await register('web02');
  });
  afterAll(async () => {
    await api.close();
    await fleet.close();
    await directory.remove();
  });

  it('pins the key of the server and of the one it is reached from, and says so', async () => {
    const reply = await api.check('web01');
    expect(reply).toMatchObject({
      status: 200,
      body: {
        facts: {
          hostname: 'web01',
          git_supported: true,
          host_key_fingerprint: fingerprintOf(hostKeyOf('web01')),
          become_works: null,
          problems: [],
        },
        job: { result: { host_key_pinned: true } },
      },
    });
    expect([await pinnedKey('web01'), await pinnedKey('jump01')]).toEqual([
      hostKeyOf('web01'),
      hostKeyOf('jump01'),
    ]);
    const job = await api.must('GET', `/job/${reply.body.job.job_id}?results=true`);
    const told = job.results.filter((one: { kind: string }) => one.kind === 'host_key_pinned');
    expect(told.map((one: { data: { server: string } }) => one.data.server)).toEqual([
      'jump01',
      'web01',
    ]);
    const again = await api.check('web01');
    expect(again.body.job.result.host_key_pinned).toBe(false);
    // The first login is used again, though it was made before a key was pinned.
    expect([await connectionsOn('jump01'), await connectionsOn('web01')]).toEqual([1, 1]);
  });

  it('tells whether the user becomes root, and what to do if not', async () => {
    const become = async (user: string) => {
      await patch('web01', connectionTo('web01', { jump: 'jump01', user, become: true }));
      return (await api.check('web01')).body.facts;
    };
    expect(await become('deploy')).toMatchObject({ become_works: true, problems: [] });
    expect(await become('guest')).toMatchObject({
      become_works: false,
      problems: [expect.stringContaining('NOPASSWD')],
    });
    expect(await become('root')).toMatchObject({ become_works: true, problems: [] });
  });

  it('goes before a deployment as a user that is not root, whose actions are', async () => {
    const user = { jump: 'jump01', user: 'deploy', become: true };
    await patch('web01', connectionTo('web01', user));
    const actions = {
      postpull: {
        who: { cmd: [{ name: 'id -un >/opt/who' }, 'run'] },
        folder: { 'file.directory': [{ name: '/opt/owned' }, { user: 'root' }] },
      },
    };
    const location = { path: '/srv/web', gitrepo: 'repo', default_branch: 'master' };
    await api.makeApplication('shop', ['web01'], { location, actions });
    expect((await api.deploy('shop', { name: 'b1' }, ['web01'])).status).toBe(200);
    expect((await fleet.inspect('web01', 'cat /opt/who')).stdout).toBe('root\n');
    expect((await fleet.inspect('web01', 'stat -c %U /srv/web/version')).stdout).toBe('deploy\n');
    expect((await api.check('web01')).body.gitdeploys).toMatchObject([
      { application: 'shop', path: '/srv/web', deployed: 'b1', drift: 'none' },
    ]);
  });

  it('refuses a changed host key, and goes on once the new one is pinned', async () => {
    const before = await pinnedKey('web02');
    expect(before).toBeNull();
    expect((await api.check('web02')).status).toBe(200);
    await fleet.rotateHostKey('web02');
    const refused = await api.check('web02');
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { code: 'host_key_changed', details: { actual_key: hostKeyOf('web02') } } },
    });
    expect(refused.body.error.message).toContain('PATCH /server/web02');
    await patch('web02', { host_key: refused.body.error.details.actual_key });
    expect((await api.check('web02')).status).toBe(200);
    await fleet.rotateHostKey('web02');
    expect((await api.check('web02')).status).toBe(409);
    await patch('web02', { host_key: null });
    expect((await api.check('web02')).body.job.result.host_key_pinned).toBe(true);
    expect(await pinnedKey('web02')).toBe(hostKeyOf('web02'));
  });

  it('says that git is missing', async () => {
    const hide =
      'mkdir /run/none && touch /run/none/git && mount --bind /run/none/git /usr/bin/git';
    expect((await fleet.inspect('web02', hide)).exitCode).toBe(0);
    expect((await api.check('web02')).body.facts).toMatchObject({
      git_version: null,
      git_supported: false,
      problems: [expect.stringContaining('install git')],
    });
  });

  it('says that the jump host is away, and the census that nobody can tell', async () => {
    await fleet.stop('jump01');
    const reply = await api.check('web01');
    expect([reply.status, reply.body.error.code]).toEqual([503, 'server_unreachable']);
    expect(reply.body.error.message).toContain('jump01');
    expect((await api.must('GET', '/server/web01')).gitdeploys).toMatchObject([
      { drift: 'unreachable', deployed: 'b1' },
    ]);
  });
});
