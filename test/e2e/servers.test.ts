import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { fingerprintOf } from '../../src/transport/host-key.ts';
import { type ApiClient, createApiClient, type Reply } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';
import { requirePart } from '../support/parts.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { requireSshFleet } from '../transport/ssh-lab.ts';

const available = (await requireSshFleet()) && requirePart('sudo');
const APP = '/app/widgets';

/** A user who may use sudo without a password, and a place where that user may put an application. */
const ADD_DEPLOY = `
  cp -a /etc /run/etc && mount --bind /run/etc /etc && echo '127.0.0.1 web01' >>/etc/hosts
  useradd --no-log-init -M -d /home/deploy -s /bin/sh -p '*' deploy
  install -d -o deploy /home/deploy /home/deploy/.ssh /srv/app
  echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy && chmod 440 /etc/sudoers.d/deploy`;

/** Each step goes on from where the one before it has left the servers. */
describe.skipIf(!available)('servers that are hard to reach', () => {
  let directory: TemporaryDirectory;
  let fleet: SshFleet;
  let muster: TestMuster;
  let api: ApiClient;

  const hostKeyOf = (name: string): string => {
    const server = fleet.servers.find((one) => one.name === name);
    if (server === undefined) throw new Error(`no server ${name}`);
    return server.hostKey;
  };
  const on = async (name: string, command: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await fleet.inspect(name, command);
    expect({ command, exitCode, stderr }).toMatchObject({ exitCode: 0 });
    return stdout.trim();
  };
  const must = async (method: string, path: string, body?: unknown): Promise<Reply['body']> => {
    const reply = await api(method, path, body);
    expect({ path, status: reply.status, body: reply.body }).toMatchObject({
      status: expect.toSatisfy((status: number) => status < 300),
    });
    return reply.body;
  };
  const makeKeypair = async (name: string): Promise<string> =>
    (await must('PUT', `/global/keypairs?name=${name}&generate=true`)).public_key;
  /** Lets in one key on the jump host and one on the server behind it, and nobody else. */
  const letIn = async (publicKey: string): Promise<void> => {
    await on('gate01', `echo '${publicKey}' >/root/.ssh/authorized_keys`);
    await on('web01', `echo '${publicKey}' >/home/deploy/.ssh/authorized_keys`);
  };
  /** With the connections go the logins by keys that are let in no more. */
  const endLogins = async (): Promise<void> => {
    for (const name of ['gate01', 'web01']) {
      await fleet.stop(name);
      await fleet.start(name);
    }
  };
  const connectionTo = (name: string, keypair: string): object => {
    const server = fleet.servers.find((one) => one.name === name);
    const { host, port } = server ?? {};
    return name === 'gate01'
      ? { kind: 'ssh', host, port, user: 'root', keypair }
      : { kind: 'ssh', host, port, user: 'deploy', keypair, become: true, jump: 'gate01' };
  };
  const check = (name: string): Promise<Reply> => api('POST', `/server/${name}?check=true&wait=60`);
  /** Until it is noticed that a server has been restarted, its old connection is tried. */
  const expectCheck = (name: string) =>
    expect.poll(async () => {
      const { status, body } = await check(name);
      return { status, error: body.error };
    });
  const deploy = async (build: string): Promise<Reply['body']> => {
    await must('PUT', `${APP}/builds?build_name=${build}`);
    const archive = await packTarGz({ version: `${build}\n` });
    await must('POST', `${APP}/builds/${build}?file_type=tar.gz&wait=60`, archive);
    const { body } = await api('POST', `${APP}/deployments?build_name=${build}&wait=60`, {
      servers: ['web01'],
      gitdeploys: ['All'],
    });
    return body;
  };
  const expectDeployed = async (build: string): Promise<void> => {
    expect(await deploy(build)).toMatchObject({ status: 'succeeded' });
    expect(await on('web01', 'cat /srv/app/widgets/version')).toBe(build);
  };

  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    [fleet, muster] = await Promise.all([
      startSshFleet({ names: ['gate01', 'web01'], directory: directory.path, authorizedKeys: [] }),
      startMuster('embedded'),
    ]);
    api = createApiClient(muster);
    await on('web01', ADD_DEPLOY);
    await letIn(await makeKeypair('kp1'));
    for (const name of ['gate01', 'web01']) {
      await must('PUT', `/server?name=${name}&environment=production`, {
        connection: connectionTo(name, 'kp1'),
      });
    }
  });
  afterAll(async () => {
    await muster.close();
    await fleet.close();
    await directory.remove();
  });

  it('are checked through a jump host, as a user who becomes root, and their host keys are pinned', async () => {
    expect((await must('GET', '/server/web01')).connection.host_key).toBeNull();
    const reply = await check('web01');
    expect(reply.status).toBe(200);
    expect(reply.body.job.result).toMatchObject({ server: 'web01', host_key_pinned: true });
    expect(reply.body.facts).toMatchObject({
      hostname: 'web01',
      os: { id: expect.stringMatching(/./) },
      git_version: expect.stringMatching(/^\d+\.\d+/),
      git_supported: true,
      free_disk_bytes: expect.toSatisfy((bytes: number) => bytes > 0),
      host_key_fingerprint: fingerprintOf(hostKeyOf('web01')),
      clock_skew_ms: expect.any(Number),
      round_trip_ms: expect.toSatisfy((ms: number) => ms > 0),
      become_works: true,
      problems: [],
    });
    for (const name of ['gate01', 'web01']) {
      const { connection } = await must('GET', `/server/${name}`);
      expect([name, connection.host_key]).toEqual([name, hostKeyOf(name)]);
    }
    // Muster's connection to web01 is one that gate01 has.
    expect(await on('gate01', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "')).toContain('sshd: root');
  });

  it('are deployed to as that user, with actions as root', async () => {
    await must('PUT', '/app?app_name=widgets');
    await must('PUT', `${APP}/gitrepos?name=all&wait=60`);
    await must('PUT', `${APP}/gitdeploys?name=All`, {
      package: 'master',
      location: { path: '/srv/app/widgets', gitrepo: 'all', default_branch: 'master' },
      actions: { postpull: { note: { 'cmd.run': [{ name: 'id -un >/srv/who' }] } } },
    });
    await must('POST', `${APP}/gitdeploys/All?initialize=true&wait=60`, { servers: ['web01'] });
    await expectDeployed('1.0.0');
    expect(await on('web01', 'cat /srv/who; stat -c %U /srv/who /srv/app/widgets/version')).toBe(
      'root\nroot\ndeploy',
    );
  });

  it('are not trusted with another host key, which is shown, until it is pinned', async () => {
    const pinned = hostKeyOf('web01');
    await fleet.rotateHostKey('web01');
    const shown = hostKeyOf('web01');
    await expectCheck('web01').toMatchObject({
      error: {
        code: 'host_key_changed',
        details: {
          server: 'web01',
          expected: fingerprintOf(pinned),
          actual: fingerprintOf(shown),
          actual_key: shown,
        },
      },
    });
    expect(await deploy('1.1.0')).not.toMatchObject({ status: 'succeeded' });
    expect(await on('web01', 'cat /srv/app/widgets/version')).toBe('1.0.0');

    await must('PATCH', '/server/web01', { host_key: shown });
    await expectCheck('web01').toMatchObject({ status: 200 });
    await expectDeployed('1.2.0');
  });

  it('are not reached past a jump host that shows another key, until the pinned one is forgotten', async () => {
    await fleet.rotateHostKey('gate01');
    await expectCheck('web01').toMatchObject({
      error: { code: 'host_key_changed', details: { server: 'gate01' } },
    });
    await must('PATCH', '/server/gate01', { host_key: null });
    await expectCheck('web01').toMatchObject({ status: 200 });
    const { connection } = await must('GET', '/server/gate01');
    expect(connection.host_key).toBe(hostKeyOf('gate01'));
  });

  it('are given a new keypair one by one, and need the old one no more', async () => {
    const second = await makeKeypair('kp2');
    expect((await api('DELETE', '/global/keypairs/kp1')).body.error).toMatchObject({
      code: 'in_use',
    });
    await letIn(second);
    for (const name of ['gate01', 'web01']) {
      const { connection } = await must('PATCH', `/server/${name}`, {
        connection: connectionTo(name, 'kp2'),
      });
      // The host key stays pinned.
      expect(connection).toMatchObject({ keypair: 'kp2', host_key: hostKeyOf(name) });
    }
    await endLogins();
    await must('DELETE', '/global/keypairs/kp1');
    await expectCheck('web01').toMatchObject({ status: 200 });
    await expectDeployed('2.0.0');
  });

  it('are given new keys of the same keypair all at once', async () => {
    const { public_key: third } = await must('PATCH', '/global/keypairs/kp2?generate=true');
    await letIn(third);
    await endLogins();
    await expectCheck('web01').toMatchObject({ status: 200 });
    await expectDeployed('3.0.0');
  });

  it('say so when a key is let in no more', async () => {
    await on('web01', ': >/home/deploy/.ssh/authorized_keys');
    await fleet.stop('web01');
    await fleet.start('web01');
    await expectCheck('web01').toMatchObject({
      error: { code: 'server_login_refused', details: { server: 'web01' } },
    });
    expect(await deploy('3.1.0')).not.toMatchObject({ status: 'succeeded' });
    expect(await on('web01', 'cat /srv/app/widgets/version')).toBe('3.0.0');
  });
});
