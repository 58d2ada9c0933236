import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { type ApiClient, createApiClient, type Reply } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';
import { requirePart } from '../support/parts.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const available = requirePart('redis-server');
const withSshd = requirePart('sshd') && process.getuid?.() === 0;

interface Shop {
  readonly api: ApiClient;
  deploy(build: string, options?: string): Promise<string>;
  act(id: string, action: string, query?: string): Promise<Reply>;
  until(id: string, is: (deployment: Reply['body']) => boolean): Promise<Reply['body']>;
}

/** One rolling group of one gitdeploy on the given servers, in two slices, and the builds b1 and b2. */
async function openShop(
  muster: TestMuster,
  servers: Readonly<Record<string, object>>,
  prepull: string,
): Promise<Shop> {
  const api: ApiClient = (...call) => createApiClient(muster)(...call);
  const ok = async (...call: Parameters<ApiClient>): Promise<Reply> => {
    const reply = await api(...call);
    expect({ call, status: reply.status, body: reply.body }).toMatchObject({
      status: reply.status < 300 ? reply.status : 'less than 300',
    });
    return reply;
  };
  await ok('PUT', '/app?app_name=shop');
  for (const [name, connection] of Object.entries(servers)) {
    await ok('PUT', `/server?name=${name}&environment=production`, { connection });
  }
  await ok('PUT', '/app/shop/gitrepos?name=web&wait=30');
  await ok('PUT', '/app/shop/gitdeploys?name=Web', {
    package: 'master',
    location: { path: '/opt/web', gitrepo: 'web', default_branch: 'master' },
    actions: { prepull: { wait: { 'cmd.run': [{ name: prepull }] } } },
  });
  const names = Object.keys(servers);
  await ok('POST', '/app/shop/gitdeploys/Web?initialize=true&wait=60', { servers: names });
  await ok('PUT', '/app/shop/groups?name=all&rolling_deploy=true', { gitdeploys: ['Web'] });
  for (const build of ['b1', 'b2']) {
    await ok('PUT', `/app/shop/builds?build_name=${build}`);
    const archive = await packTarGz({ version: `${build}\n` });
    await ok('POST', `/app/shop/builds/${build}?file_type=tar.gz&wait=60`, archive);
  }
  const target = { environments: ['production'], groups: ['all'] };
  return {
    api,
    deploy: async (build, options = '') =>
      (await ok('POST', `/app/shop/deployments?build_name=${build}${options}`, target)).body.id,
    act: (id, action, query = '') => api('POST', `/app/shop/deployments/${id}/${action}${query}`),
    until: async (id, is) => {
      for (;;) {
        const { body } = await api('GET', `/app/shop/deployments/${id}`);
        if (is(body)) return body;
        await sleep(50);
      }
    },
  };
}

/** All events of a deployment, as its stream gives them until its end. */
async function readStream(muster: TestMuster, id: string): Promise<string[]> {
  const reply = await fetch(new URL(`/app/shop/deployments/${id}/events`, muster.url), {
    headers: { authorization: `Bearer ${muster.token}` },
  });
  return (await reply.text()).split('\n\n').filter((block) => /^(id|event):/.test(block));
}

describe.skipIf(!available)('a rollback whose worker is killed', () => {
  let muster: TestMuster;
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    muster = await startMuster('distributed', { MUSTER_JOB_LEASE_SECONDS: '5' });
  });
  afterAll(async () => {
    await muster.close();
    await directory.remove();
  });

  it('is ended by the next worker, with every server on the build it had and no commit doubled', async () => {
    const names = ['s0', 's1', 's2', 's3'];
    const servers: Record<string, object> = {};
    for (const name of names) {
      await mkdir(join(directory.path, name, 'opt'), { recursive: true });
      servers[name] = { kind: 'local', root: join(directory.path, name) };
    }
    const gate = join(directory.path, 'gate');
    const shop = await openShop(muster, servers, `while [ -e ${gate} ]; do sleep 0.1; done`);
    const versionOn = (name: string) =>
      readFile(join(directory.path, name, 'opt/web/version'), 'utf8').catch(() => null);
    const first = await shop.deploy('b1');
    await shop.until(first, (d) => d.status === 'succeeded');
    const second = await shop.deploy('b2');
    await shop.until(second, (d) => d.status === 'succeeded');

    await writeFile(gate, '');
    const asked = await shop.act(second, 'rollback');
    expect(asked).toMatchObject({ status: 202, body: { status: 'rolling_back' } });
    await shop.until(second, (d) => d.rollback_batches[0]?.steps[0]?.status === 'running');
    await muster.killWorkers();
    await rm(gate);
    const stream = readStream(muster, second);
    await muster.startWorker();
    const back = await shop.until(second, (d) => d.status !== 'rolling_back');
    expect(back.status).toBe('rolled_back');
    expect(await Promise.all(names.map(versionOn))).toEqual(names.map(() => 'b1\n'));
    expect((await shop.api('GET', '/app/shop/census')).body.production.all.s0.Web).toEqual({
      committed: 'b1',
      deployed: 'b1',
    });
    const commits = new Set(
      back.rollback_batches.flatMap((b: { steps: { to_commit: string }[] }) =>
        b.steps.map((s) => s.to_commit),
      ),
    );
    expect([...commits]).toHaveLength(1);
    const head = (await shop.api('GET', '/app/shop/gitrepos/web')).body.head_commit;
    expect([...commits]).toEqual([head]);
    const events = await stream;
    expect(events.at(-1)).toBe('event: end\ndata: {"status":"rolled_back"}');
    expect(events.some((e) => e.includes('"status":"rolled_back"') && e.startsWith('id:'))).toBe(
      true,
    );

    // What the one before had brought is there again, so it can be taken back as well: to nothing.
    expect((await shop.act(first, 'rollback', '?wait=60')).body.status).toBe('rolled_back');
    expect(await Promise.all(names.map(versionOn))).toEqual(names.map(() => null));
  });
});

describe.skipIf(!available || !withSshd)('a deployment to real servers', () => {
  let muster: TestMuster;
  let fleet: SshFleet;
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    muster = await startMuster('embedded');
  });
  afterAll(async () => {
    await fleet.close();
    await muster.close();
    await directory.remove();
  });

  it('is cancelled with all that it runs there, tried again, and taken back to nothing', async () => {
    const api = createApiClient(muster);
    const keypair = await api('PUT', '/global/keypairs?name=kp&generate=true');
    fleet = await startSshFleet({
      names: ['s0', 's1'],
      directory: directory.path,
      authorizedKeys: [keypair.body.public_key],
    });
    const servers = Object.fromEntries(
      fleet.servers.map(({ name, host, port, hostKey }) => [
        name,
        { kind: 'ssh', host, port, user: 'root', keypair: 'kp', host_key: hostKey },
      ]),
    );
    const shop = await openShop(muster, servers, 'if [ -e /opt/slow ]; then sleep 4242; fi');
    const on = async (server: string, script: string): Promise<string> =>
      (await fleet.inspect(server, script)).stdout;
    await on('s0', 'touch /opt/slow');

    const id = await shop.deploy('b1');
    await shop.until(id, (d) => d.batches[0].steps[0].status === 'running');
    await expect.poll(() => on('s0', 'ps ax')).toContain('sleep 4242');
    const cancelled = await shop.act(id, 'cancel', '?wait=60');
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    await expect.poll(() => on('s0', 'ps ax')).not.toContain('sleep 4242');
    expect(await on('s0', 'ls -A /opt/web')).toBe('.git\n');

    await on('s0', 'rm /opt/slow');
    expect(await shop.act(id, 'retry', '?wait=60')).toMatchObject({
      status: 200,
      body: { status: 'succeeded' },
    });
    expect(await on('s1', 'cat /opt/web/version')).toBe('b1\n');

    expect(await shop.act(id, 'rollback', '?wait=60')).toMatchObject({
      status: 200,
      body: { status: 'rolled_back' },
    });
    expect(await on('s1', 'ls -A /opt/web')).toBe('.git\n');
    expect((await shop.api('GET', '/app/shop/census')).body.production.all.s1.Web).toEqual({
      committed: null,
      deployed: null,
    });
  });
});
