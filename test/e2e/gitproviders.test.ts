import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runToEnd } from '../../scripts/fleet/run-to-end.ts';
import { type SshFleet, startSshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { createHandlers } from '../../src/jobs/handlers.ts';
import { startWorker, type Worker } from '../../src/jobs/worker.ts';
import type { Transport } from '../../src/transport/connection.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { type Answer, startTestApi, type TestApi } from '../api/test-api.ts';
import { git } from '../depot/fixtures.ts';
import { packTarGz } from '../support/archive.ts';
import {
  type FakeHost,
  type FakeProvider,
  fakeGitea,
  startFakeProvider,
} from '../support/fake-provider.ts';
import { type GitHttpServer, startGitHttpServer } from '../support/git-http-server.ts';
import { requireSshFleet } from '../transport/ssh-lab.ts';

const TOKEN = 'a-gitea-token-that-nobody-may-see';
const BASIC = Buffer.from(`x-access-token:${TOKEN}`).toString('base64');

const available = await requireSshFleet();

describe.skipIf(!available)('deployments with a git provider', () => {
  let api: TestApi;
  let worker: Worker;
  let transport: Transport;
  let server: GitHttpServer;
  let provider: FakeProvider;
  let fleet: SshFleet;
  let repositories: string;
  let privateKeyLine = '';
  const host: { -readonly [K in keyof FakeHost]: FakeHost[K] } = {
    httpBase: '',
    sshBase: '',
    repositories: new Map(),
  };

  const path = (name: string): string => join(repositories, `cup/${name}.git`);
  const onGitServer = async (script: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await fleet.inspect('git', script);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    return stdout.trim();
  };
  const ok = async (work: Promise<Answer>): Promise<Answer['body']> => {
    const { status, body } = await work;
    if (status >= 400) throw new Error(body.error.message);
    expect([200, 201]).toContain(status);
    return body;
  };
  const createGitrepo = (query: string) => api.call('PUT', `/app/shop/gitrepos?${query}&wait=60`);
  const gitrepo = (name: string) => ok(api.call('GET', `/app/shop/gitrepos/${name}`));
  /** A gitdeploy of a gitrepo, initialized on the server at /opt/<name>. */
  const initialize = async (name: string, branch = 'master'): Promise<void> => {
    const location = { path: `/opt/${name}`, gitrepo: name, default_branch: branch };
    await ok(
      api.call('PUT', `/app/shop/gitdeploys?name=${name}`, {
        body: { package: 'master', location },
      }),
    );
    await ok(
      api.call('POST', `/app/shop/gitdeploys/${name}?initialize=true&wait=60`, {
        body: { servers: ['web'] },
      }),
    );
  };
  const deploy = (build: string, gitdeploy: string) =>
    api.call('POST', `/app/shop/deployments?build_name=${build}&wait=60`, {
      body: { servers: ['web'], gitdeploys: [gitdeploy] },
    });
  const served = (name: string): Promise<string> =>
    readFile(join(api.dataDirectory, 'web/opt', name, 'index.html'), 'utf8');

  beforeAll(async () => {
    api = await startTestApi();
    repositories = join(api.dataDirectory, 'remote');
    await mkdir(join(repositories, 'cup'), { recursive: true });
    await mkdir(join(api.dataDirectory, 'web/opt'), { recursive: true });
    await mkdir(join(api.dataDirectory, 'fleet'));
    transport = createTransport({ ssh: { loginTimeoutMs: 5000 } });
    worker = startWorker({
      ...api.services,
      handlers: createHandlers({ ...api.services, transport }),
      concurrency: 4,
    });
    server = await startGitHttpServer(repositories, {
      username: 'x-access-token',
      password: TOKEN,
    });
    host.httpBase = server.url;
    provider = await startFakeProvider((request) => fakeGitea(`token ${TOKEN}`, host)(request));

    const made = await runToEnd([
      'ssh-keygen',
      '-q',
      '-t',
      'ed25519',
      '-N',
      '',
      '-f',
      `${api.dataDirectory}/key`,
    ]);
    expect(made.exitCode).toBe(0);
    const privateKey = await readFile(join(api.dataDirectory, 'key'), 'utf8');
    const publicKey = await readFile(join(api.dataDirectory, 'key.pub'), 'utf8');
    privateKeyLine = privateKey.split('\n')[1] ?? '';
    fleet = await startSshFleet({
      names: ['git'],
      directory: join(api.dataDirectory, 'fleet'),
      authorizedKeys: [publicKey.trim()],
    });
    host.sshBase = `ssh://root@127.0.0.1:${fleet.servers[0]?.port}/srv/`;

    await ok(api.call('PUT', '/app?app_name=shop'));
    await ok(api.call('PUT', '/global/keypairs?name=kp1', { body: { private_key: privateKey } }));
    await ok(
      api.call('PUT', '/global/gitproviders?name=gp1', {
        body: { type: 'gitea', url: provider.url, auth: { token: TOKEN } },
      }),
    );
    const connection = { kind: 'local', root: join(api.dataDirectory, 'web') };
    await ok(api.call('PUT', '/server?name=web&environment=test', { body: { connection } }));
    for (const build of ['1', '2', '3']) {
      await ok(api.call('PUT', `/app/shop/builds?build_name=${build}`));
      await ok(
        api.call('POST', `/app/shop/builds/${build}?file_type=tar.gz&wait=60`, {
          headers: { 'content-type': 'application/octet-stream' },
          body: await packTarGz({ 'index.html': `build ${build}\n` }),
        }),
      );
    }
  });
  afterAll(async () => {
    await worker.close();
    await transport.close();
    await fleet.close();
    await provider.close();
    await server.close();
    await api.close();
  });

  it('creates the repository by the API, and pushes there over HTTP by the token', async () => {
    // Like the real one, which has the repository on disk when its API has answered.
    await git(['init', '--quiet', '--bare', '--initial-branch=master', path('site')]);
    const made = await ok(createGitrepo('name=site&existing=false&gitprovider=gp1'));
    expect(made).toMatchObject({
      uri: `${server.url}/cup/site.git`,
      gitprovider: 'gp1',
      keypair: null,
      existing: false,
      branch: 'master',
    });
    expect(provider.requests.at(-1)).toMatchObject({
      path: '/api/v1/user/repos',
      body: { name: 'site', private: true },
    });
    expect(await git(['rev-parse', 'master'], path('site'))).toBe(made.head_commit);
    await initialize('site');
    const deployment = await ok(deploy('1', 'site'));
    expect(deployment.status).toBe('succeeded');
    expect(await served('site')).toBe('build 1\n');
    const { head_commit: head, committed_build: build } = await gitrepo('site');
    expect(build).toBe('1');
    expect(head).toBe(deployment.commits.site?.commit ?? head);
    expect(await git(['rev-parse', 'master'], path('site'))).toBe(head);
    expect(await git(['show', 'master:index.html'], path('site'))).toBe('build 1');
  });

  it('creates the repository by the API, and pushes there over SSH by the keypair', async () => {
    await onGitServer(
      'mkdir -p /srv/cup; git init -q --bare --initial-branch=master /srv/cup/keyed.git',
    );
    const made = await ok(createGitrepo('name=keyed&existing=false&gitprovider=gp1&keypair=kp1'));
    expect(made).toMatchObject({ uri: `${host.sshBase}cup/keyed.git`, keypair: 'kp1' });
    await initialize('keyed');
    await ok(deploy('1', 'keyed'));
    expect(await onGitServer('git -C /srv/cup/keyed.git show master:index.html')).toBe('build 1');
    const known = await readFile(join(api.dataDirectory, 'depot/known_hosts'), 'utf8');
    expect(known).toContain(fleet.servers[0]?.hostKey);
  });

  it('warns when the repository is created and cannot be pushed to yet', async () => {
    const made = await ok(createGitrepo('name=late&gitprovider=gp1'));
    const job = await ok(api.call('GET', `/job/${made.job.job_id}?results=true`));
    const warning = job.results.find(({ data }: { data: unknown }) =>
      JSON.stringify(data).includes('could not be pushed'),
    );
    expect(JSON.stringify(warning)).toContain('There is no repository at');
    expect((await api.call('DELETE', '/app/shop/gitrepos/late')).status).toBe(200);
    expect(host.repositories.has('cup/late')).toBe(true);
  });

  it("fails with the provider's words when the name is taken, and leaves the name free here", async () => {
    host.repositories.set('cup/taken', { description: 'of somebody else' });
    const refused = await createGitrepo('name=taken&gitprovider=gp1');
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { code: 'gitprovider_refused' } },
    });
    expect(refused.body.error.message).toContain(
      'The repository with the same name already exists',
    );
    expect((await api.call('GET', '/app/shop/gitrepos/taken')).status).toBe(404);
  });

  it('adopts a repository with its history, and goes on from it on the branch that is asked for', async () => {
    await onGitServer(`
      git init -q --initial-branch=main /srv/work && cd /srv/work
      git config user.name t && git config user.email t@localhost
      echo old >index.html && git add . && git commit -q -m 'long ago'
      git init -q --bare --initial-branch=main /srv/old.git
      git push -q /srv/old.git main main:live`);
    const old = await onGitServer('git -C /srv/old.git rev-parse main');
    const uri = encodeURIComponent(`${host.sshBase}old.git`);
    const made = await ok(createGitrepo(`name=old&existing=true&uri=${uri}&keypair=kp1`));
    expect(made).toMatchObject({ existing: true, branch: 'main', head_commit: old });
    await initialize('old', 'live');
    expect(await served('old')).toBe('old\n');
    await ok(deploy('2', 'old'));
    expect(await served('old')).toBe('build 2\n');
    expect(await onGitServer('git -C /srv/old.git rev-parse live^')).toBe(old);
    expect(await onGitServer('git -C /srv/old.git rev-parse main')).toBe(old);
  });

  it('fails when there is nothing to adopt, and leaves the name free', async () => {
    const uri = encodeURIComponent(`${host.sshBase}nothing.git`);
    const refused = await createGitrepo(`name=nothing&existing=true&uri=${uri}&keypair=kp1`);
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { code: 'gitprovider_refused' } },
    });
    expect((await api.call('GET', '/app/shop/gitrepos/nothing')).status).toBe(404);
  });

  it('fails a deployment whose push is refused, before any server is touched', async () => {
    await writeFile(
      join(path('site'), 'hooks/pre-receive'),
      '#!/bin/sh\necho "Frozen until Monday." >&2\nexit 1\n',
      { mode: 0o755 },
    );
    const before = await gitrepo('site');
    const commands = await readdir(join(api.dataDirectory, 'web/opt/site/.git'), {
      recursive: true,
    });
    const refused = await deploy('3', 'site');
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { code: 'gitprovider_refused' } },
    });
    expect(refused.body.error.message).toContain('Frozen until Monday.');
    const [newest] = (await ok(api.call('GET', '/app/shop/deployments'))).deployments;
    const deployment = await ok(api.call('GET', `/app/shop/deployments/${newest}`));
    expect(deployment).toMatchObject({ status: 'failed', build: '3' });
    expect(JSON.stringify(deployment.error)).toContain('Frozen until Monday.');
    expect(await served('site')).toBe('build 1\n');
    const after = await readdir(join(api.dataDirectory, 'web/opt/site/.git'), { recursive: true });
    expect(after.sort()).toEqual(commands.sort());
    expect(await gitrepo('site')).toEqual(before);
    await writeFile(join(path('site'), 'hooks/pre-receive'), '#!/bin/sh\nexit 0\n');
    await ok(deploy('3', 'site'));
    expect(await served('site')).toBe('build 3\n');
  });

  it('takes in what others pushed at the provider, and tells what was rewritten there', async () => {
    const { head_commit: ours } = await gitrepo('site');
    const theirs = await git(
      ['commit-tree', '-m', 'by hand', '-p', ours, `${ours}^{tree}`],
      path('site'),
    );
    await git(['update-ref', 'refs/heads/master', theirs], path('site'));
    await ok(deploy('2', 'site'));
    expect(await served('site')).toBe('build 2\n');
    expect(await git(['rev-parse', 'master^'], path('site'))).toBe(theirs);
    const { head_commit: head } = await gitrepo('site');
    const rewritten = await git(['commit-tree', '-m', 'rewritten', `${head}^{tree}`], path('site'));
    await git(['update-ref', 'refs/heads/master', rewritten], path('site'));
    const refused = await deploy('1', 'site');
    expect(refused).toMatchObject({
      status: 409,
      body: {
        error: {
          code: 'gitrepo_diverged',
          details: { muster_head: head, provider_head: rewritten },
        },
      },
    });
    expect(await served('site')).toBe('build 2\n');
    expect(await git(['rev-parse', 'master'], path('site'))).toBe(rewritten);
  });

  it('leaves the repository at the provider alone when the gitrepo is deleted', async () => {
    const calls = provider.requests.length;
    const inUse = await api.call('DELETE', '/app/shop/gitrepos/site');
    expect(inUse.body.error).toMatchObject({
      code: 'in_use',
      details: { used_by: { gitdeploys: ['site'] } },
    });
    expect(
      await ok(
        createGitrepo(`name=gone&uri=${encodeURIComponent(`${host.sshBase}old.git`)}&keypair=kp1`),
      ),
    ).toMatchObject({ existing: true });
    expect((await api.call('DELETE', '/app/shop/gitrepos/gone')).status).toBe(200);
    expect(provider.requests).toHaveLength(calls);
    expect(await onGitServer('git -C /srv/old.git rev-parse --verify -q main')).toMatch(/^\w{40}$/);
  });

  it('has told no secret: not in logs, jobs, events, rows, arguments of git, or what is left on disk', async () => {
    const { db } = api.services.database;
    const rows = [
      await db.job.findMany(),
      await db.event.findMany(),
      await db.auditEvent.findMany(),
      await db.gitrepo.findMany(),
      await db.deployment.findMany(),
      api.logLines,
    ];
    expect(rows[1]).not.toHaveLength(0);
    const told = JSON.stringify(rows, (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    const disk = await runToEnd([
      'grep',
      '-rlaF',
      ...[TOKEN, BASIC, privateKeyLine].flatMap((secret) => ['-e', secret]),
      join(api.dataDirectory, 'depot'),
      join(api.dataDirectory, 'web'),
    ]);
    expect(disk.stdout).toBe('');
    for (const secret of [TOKEN, BASIC, privateKeyLine]) expect(told.includes(secret)).toBe(false);
    expect(await readdir(join(api.dataDirectory, 'depot/.tmp'))).toEqual([]);
  });
});
