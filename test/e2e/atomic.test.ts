import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { type ApiClient, createApiClient, type Reply } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';
import { requirePart } from '../support/parts.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const available = requirePart('sshd') && process.getuid?.() === 0;
const GITDEPLOY = '/app/shop/gitdeploys/Web';
const LOCATION = {
  path: '/opt/web',
  gitrepo: 'web',
  default_branch: 'master',
  switch: 'atomic',
  keep_releases: 3,
};

describe.skipIf(!available)('a gitdeploy that switches atomically', () => {
  let muster: TestMuster;
  let api: ApiClient;
  let fleet: SshFleet;
  let directory: TemporaryDirectory;

  const on = async (server: string, script: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await fleet.inspect(server, script);
    expect({ server, script, exitCode, stderr }).toMatchObject({ exitCode: 0 });
    return stdout.trim();
  };
  const ok = async (...call: Parameters<ApiClient>): Promise<Reply> => {
    const reply = await api(...call);
    expect({ call, ...reply }).toMatchObject({ status: expect.toSatisfy((s: number) => s < 300) });
    return reply;
  };
  const deploy = (build: string): Promise<Reply> =>
    api('POST', `/app/shop/deployments?build_name=${build}&wait=120`, {
      servers: ['s0', 's1'],
      gitdeploys: ['Web'],
    });
  const leafOn = async (server: string) => {
    await ok('POST', `/server/${server}?check=true&wait=60`);
    return (await ok('GET', '/app/shop/census?details=true')).body.production['-'][server].Web;
  };

  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    muster = await startMuster('embedded');
    api = createApiClient(muster);
    const keypair = await ok('PUT', '/global/keypairs?name=kp&generate=true');
    fleet = await startSshFleet({
      names: ['s0', 's1'],
      directory: directory.path,
      authorizedKeys: [keypair.body.public_key],
    });
    await ok('PUT', '/app?app_name=shop');
    for (const { name, host, port, hostKey } of fleet.servers) {
      const login = { user: 'root', keypair: 'kp', host_key: hostKey };
      await ok('PUT', `/server?name=${name}&environment=production`, {
        connection: { kind: 'ssh', host, port, ...login },
      });
    }
    await ok('PUT', '/app/shop/gitrepos?name=web&wait=30');
    for (const build of ['b1', 'b2', 'b3', 'b4']) {
      await ok('PUT', `/app/shop/builds?build_name=${build}`);
      const archive = await packTarGz({ version: `${build}\n`, [`only-${build}`]: `${build}\n` });
      await ok('POST', `/app/shop/builds/${build}?file_type=tar.gz&wait=60`, archive);
    }
  });
  afterAll(async () => {
    await fleet.close();
    await muster.close();
    await directory.remove();
  });

  it('is initialized as a link, where nothing else is', async () => {
    const test = { 'cmd.run': [{ name: 'if [ -e /opt/bad ]; then exit 7; fi' }] };
    await ok('PUT', '/app/shop/gitdeploys?name=Web', {
      package: 'master',
      location: LOCATION,
      actions: { postpull: { test } },
    });
    await on('s1', 'mkdir /opt/web');
    const half = await api('POST', `${GITDEPLOY}?initialize=true&wait=60`, {
      servers: ['s0', 's1'],
    });
    expect(half).toMatchObject({ status: 409, body: { error: { code: 'path_occupied' } } });
    expect(JSON.stringify(half.body)).toContain('mv /opt/web /opt/web.old');
    await on('s1', 'rmdir /opt/web');
    await ok('POST', `${GITDEPLOY}?initialize=true&wait=60`, { servers: ['s0', 's1'] });
    expect((await ok('GET', GITDEPLOY)).body).toMatchObject({
      location: LOCATION,
      servers: ['s0', 's1'],
    });
    for (const server of ['s0', 's1']) {
      expect(await on(server, 'readlink /opt/web')).toMatch(/^\.web\.muster\/releases\/\w+$/);
    }
    const { path, gitrepo, default_branch } = LOCATION;
    const moved = await api('PATCH', GITDEPLOY, { location: { path, gitrepo, default_branch } });
    expect(moved).toMatchObject({ status: 409, body: { error: { code: 'in_use' } } });
  });

  it('shows one build after the other, each whole, and goes back without a transfer', async () => {
    expect((await deploy('b1')).body.status).toBe('succeeded');
    const shown = await on('s0', 'readlink /opt/web');
    const second = await deploy('b2');
    expect(second.body.status).toBe('succeeded');
    for (const server of ['s0', 's1']) {
      expect(await on(server, 'cd /opt/web && ls && cat version')).toBe('only-b2\nversion\nb2');
    }
    // A pack that comes is a new file, and so is a file that is checked out.
    const traces =
      'cd /opt/.web.muster && ls .git/objects/pack releases && stat -c "%n %i %Z" releases/*/*';
    const before = await on('s0', traces);
    const back = await api('POST', `/app/shop/deployments/${second.body.id}/rollback?wait=120`);
    expect(back.body.status).toBe('rolled_back');
    expect(await on('s0', 'readlink /opt/web && cat /opt/web/version')).toBe(`${shown}\nb1`);
    expect(await on('s0', traces)).toBe(before);
    expect(await leafOn('s0')).toMatchObject({ deployed: 'b1', committed: 'b1', drift: 'none' });
  });

  it('shows the old release again when postpull fails', async () => {
    expect((await deploy('b2')).body.status).toBe('succeeded');
    const shown = await on('s1', 'readlink /opt/web && touch /opt/bad');
    const failed = await deploy('b3');
    expect(failed).toMatchObject({ status: 409, body: { error: { code: 'deployment_failed' } } });
    expect(await on('s1', 'readlink /opt/web && cat /opt/web/version')).toBe(`${shown}\nb2`);
    expect(await leafOn('s1')).toMatchObject({ deployed: 'b2', drift: 'none' });
    await on('s1', 'rm /opt/bad');
  });

  it('reports what was changed by hand, keeps it out of the next release, and never loses it', async () => {
    const old = await on('s0', 'readlink /opt/web && echo mine >/opt/web/version');
    expect(await leafOn('s0')).toMatchObject({ deployed: 'b3', drift: 'modified' });
    const { body } = await deploy('b4');
    expect(body.status).toBe('succeeded');
    const log = body.batches[0].steps.find(
      (s: { server: string }) => s.server === 's0',
    ).log_excerpt;
    expect(log).toContain('changed by hand stay in the release');
    expect(await on('s0', `cat /opt/web/version /opt/${old}/version`)).toBe('b4\nmine');
    expect(await leafOn('s0')).toMatchObject({ deployed: 'b4', drift: 'none' });

    await on('s0', `ln -sfn ${old} /opt/web`);
    expect(await leafOn('s0')).toMatchObject({ drift: 'moved' });
    for (const build of ['b1', 'b3', 'b4'])
      expect((await deploy(build)).body.status).toBe('succeeded');
    expect(await on('s0', 'ls /opt/.web.muster/releases | wc -l')).toBe('3');
    const kept =
      'git --git-dir=/opt/.web.muster/.git for-each-ref --format="%(refname)" refs/muster/kept';
    expect(await on('s0', `git --git-dir=/opt/.web.muster/.git show $(${kept}):version`)).toBe(
      'mine',
    );
  });

  it('is deinitialized without a trace, but for files that are not as they were delivered', async () => {
    const shown = await on('s1', 'echo mine >/opt/web/mine; readlink /opt/web');
    const done = await ok('POST', `${GITDEPLOY}?deinitialize=true&wait=60`, {
      servers: ['s0', 's1'],
    });
    const left = shown.replace('.web.muster/', '');
    expect(JSON.stringify(done.body)).toContain(`${left}/mine`);
    // What pruning had kept of the edit before.
    expect(await on('s0', 'find /opt -type f; cat $(find /opt -type f)')).toMatch(
      /^\/opt\/\.web\.muster\/kept\/[0-9a-f]{12}\/version\nmine$/,
    );
    expect(await on('s1', 'find /opt -type f')).toBe(`/opt/${shown}/mine`);
    const moved = await ok('PATCH', GITDEPLOY, {
      location: { path: '/opt/web', gitrepo: 'web', default_branch: 'master' },
    });
    expect(moved.body.location).toEqual({
      path: '/opt/web',
      gitrepo: 'web',
      default_branch: 'master',
    });
  });
});
