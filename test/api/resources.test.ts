import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSecret } from '../../src/domain/sealed-secret.ts';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { startTestApi, type TestApi } from './test-api.ts';

const A = '/app/widgetmakers';
const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

let api: TestApi;
const put = async (url: string, body?: unknown) => {
  const reply = await api.call('PUT', url, { body });

  return reply;
};

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('applications', () => {
  it('are created once, shown with an empty census, and deleted', async () => {
    const created = await put('/app?app_name=widgetmakers');
    expect(created).toMatchObject({ status: 201, headers: { location: A } });
    expect(await put('/app?app_name=widgetmakers')).toMatchObject({
      status: 409,
      body: { error: { code: 'already_exists' } },
    });
    expect((await api.call('GET', A)).body).toEqual({
      application: 'widgetmakers',
      auto_catchup: false,
      created_datetime: TIME,
      resources: ['builds', 'packagemaps', 'gitrepos', 'gitdeploys', 'groups', 'deployments'],
      census: {},
    });
    expect((await api.call('GET', `${A}?census=false`)).body).not.toHaveProperty('census');
    expect((await api.call('GET', `${A}/census?details=true`)).body).toEqual({});
    await put('/app?app_name=short.lived');
    expect(await api.call('DELETE', '/app/short.lived')).toMatchObject({
      status: 200,
      body: { deleted: { application: 'short.lived' } },
    });
    expect((await api.call('GET', '/app')).body).toEqual({ applications: ['widgetmakers'] });
  });

  it.each(['app', 'v1', '.hidden', 'a b', '', 'a/b', 'x'.repeat(129)])(
    'are not called %o',
    async (name) => {
      const reply = await put(`/app?app_name=${encodeURIComponent(name)}`);
      expect([reply.status, reply.body.error.code]).toEqual([400, 'invalid_input']);
    },
  );

  it('have a census that is not sent again to who has it', async () => {
    const first = await api.call('GET', `${A}/census`);
    const headers = { 'if-none-match': String(first.headers['etag']) };
    expect((await api.call('GET', `${A}/census`, { headers })).status).toBe(304);
    expect(
      (await api.call('GET', `${A}/census`, { headers: { 'if-none-match': '"x"' } })).status,
    ).toBe(200);
  });
});

describe('builds', () => {
  it('are created with attributes, changed and deleted', async () => {
    const created = await put(`${A}/builds?build_name=1-master`, {
      attributes: { branch_name: 'master' },
    });
    expect(created.status).toBe(201);
    expect(created.body).toEqual({
      application: 'widgetmakers',
      build_name: '1-master',
      attributes: { branch_name: 'master' },
      state: 'created',
      packages: {},
      size_bytes: null,
      sha256: null,
      file_type: null,
      created_datetime: TIME,
      stored_datetime: null,
      error: null,
      messages: [],
    });
    const changed = await api.call('PATCH', `${A}/builds/1-master`, {
      body: { attributes: { a: [1] } },
    });
    expect(changed).toMatchObject({ status: 200, body: { attributes: { a: [1] } } });
    const other = await api.call('PATCH', `${A}/builds/1-master`, {
      body: { attributes: {}, state: 'stored' },
    });
    expect([other.status, other.body.error.code]).toEqual([400, 'unknown_parameter']);
    expect((await api.call('DELETE', `${A}/builds/1-master`)).status).toBe(200);
    expect((await api.call('GET', `${A}/builds/1-master`)).status).toBe(404);
  });

  it('whose name has a slash are told how they are called now', async () => {
    const reply = await put(`${A}/builds?build_name=feature%2Flogin`);
    expect(reply).toMatchObject({ status: 201, body: { build_name: 'feature-login' } });
    expect(reply.body.messages[0]).toContain('`feature/login`');
  });

  it('have no packages to download until they are stored', async () => {
    const reply = await api.call('GET', `${A}/builds/feature-login/packages/master`);
    expect([reply.status, reply.body.error.code]).toEqual([409, 'conflict']);
  });
});

describe('package maps', () => {
  it('are kept as they were given', async () => {
    const packages = {
      binaries: { patterns: ['bin/**/*'] },
      configs: { patterns: ['conf/**/*.xml'], prefix: 'app-config/', remove_prefix: 'conf/' },
    };
    expect((await put(`${A}/packagemaps?name=map`, { packages })).body).toEqual({
      application: 'widgetmakers',
      name: 'map',
      packages,
      created_datetime: TIME,
    });
    expect((await api.call('GET', `${A}/packagemaps/map`)).body.packages).toEqual(packages);
    expect((await api.call('GET', `${A}/packagemaps`)).body.packagemaps).toEqual(['map']);
    const unsafe = await put(`${A}/packagemaps?name=m2`, {
      packages: { p: { patterns: ['../x'] } },
    });
    expect(unsafe.status).toBe(400);
    expect((await api.call('DELETE', `${A}/packagemaps/map`)).status).toBe(200);
  });
});

describe('keypairs and servers', () => {
  it('never show a private key, and are not deleted while a server uses them', async () => {
    const made = await put('/global/keypairs?name=kp1&generate=true');
    expect(made.status).toBe(201);
    expect(made.body).toEqual({
      name: 'kp1',
      public_key: expect.stringMatching(/^ssh-ed25519 /),
      fingerprint: expect.stringMatching(/^SHA256:/),
      created_datetime: TIME,
    });
    for (const url of ['/global/keypairs?details=true', '/global/keypairs/kp1']) {
      expect((await api.call('GET', url)).text).not.toMatch(/PRIVATE|sealed/i);
    }
    const connection = { kind: 'ssh', host: 'web01', user: 'deploy', keypair: 'kp1' };
    const server = await put(
      '/server?name=web01.example.com&environment=production&existing=true',
      { connection },
    );
    expect(server.status).toBe(201);
    expect(server.body).toEqual({
      name: 'web01.example.com',
      environment: 'production',
      connection: { ...connection, port: 22, host_key: null, become: false, jump: null },
      datacenter: null,
      attributes: {},
      facts: null,
      checked_at: null,
      created_datetime: TIME,
    });
    const refused = await api.call('DELETE', '/global/keypairs/kp1');
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { code: 'in_use', details: { used_by: { servers: ['web01.example.com'] } } } },
    });
  });

  it('take another key in place, so that what uses it logs in with that', async () => {
    const { db } = api.services.database;
    const before = await db.keypair.findUniqueOrThrow({ where: { name: 'kp1' } });
    const changed = await api.call('PATCH', '/global/keypairs/kp1?generate=true');
    expect(changed).toMatchObject({ status: 200, body: { name: 'kp1' } });
    expect(changed.body.fingerprint).not.toBe(before.fingerprint);
    const given = generateKeypair();
    const replaced = await api.call('PATCH', '/global/keypairs/kp1', {
      body: { private_key: given.privateKey, public_key: given.publicKey },
    });
    expect(replaced.body.fingerprint).toBe(given.fingerprint);
    const row = await db.keypair.findUniqueOrThrow({ where: { name: 'kp1' } });
    expect(row.id).toBe(before.id);
    expect(openSecret(row.privateKeySealed, api.services.config.secretKey)).toBe(given.privateKey);
    const other = generateKeypair();
    for (const [query, body] of [
      ['', undefined],
      ['', { private_key: 'x' }],
      ['', { private_key: given.privateKey, public_key: other.publicKey }],
      ['?generate=true', { private_key: given.privateKey }],
    ] as const) {
      const refused = await api.call('PATCH', `/global/keypairs/kp1${query}`, { body });
      expect([refused.status, refused.body.error.code]).toEqual([400, 'invalid_input']);
    }
    expect((await api.call('PATCH', '/global/keypairs/kp9?generate=true')).status).toBe(404);
    const events = await db.auditEvent.findMany({ where: { action: 'keypair.change' } });
    expect(events).toHaveLength(2);
    expect(JSON.stringify(events.map((e) => [e.before, e.after]))).not.toContain('PRIVATE');
  });

  it('are listed by environment, changed and forgotten', async () => {
    await put('/server?name=local1&environment=testing', {
      connection: { kind: 'local', root: '/srv/x' },
    });
    expect((await api.call('GET', '/server/environments')).body).toEqual({
      environments: { production: ['web01.example.com'], testing: ['local1'] },
    });
    const moved = await api.call('PATCH', '/server/local1', {
      body: { environment: 'staging', attributes: { rack: 4 } },
    });
    expect(moved.body).toMatchObject({
      environment: 'staging',
      attributes: { rack: 4 },
      connection: { kind: 'local', root: '/srv/x' },
      gitdeploys: [],
    });
    expect((await api.call('DELETE', '/server/local1')).status).toBe(200);
    expect((await api.call('GET', '/server')).body).toEqual({ servers: ['web01.example.com'] });
  });

  it('that do not exist yet are not made by Muster', async () => {
    const reply = await put('/server?name=x&environment=e&existing=false', {
      connection: { kind: 'local', root: '/x' },
    });
    expect([reply.status, reply.body.error.details.parameter]).toEqual([400, 'existing']);
  });

  it('are reached by ssh or as a folder, and in no other way', async () => {
    const reply = await put('/server?name=x&environment=e', { connection: { kind: 'telnet' } });
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toContain('`connection.kind` must be `ssh` or `local`');
  });
});

describe('gitrepos and gitdeploys', () => {
  it('start the job that makes the gitrepo, under both spellings of the path', async () => {
    const reply = await put(`${A}/gitrepos?name=repo1&keypair=kp1`);
    expect(reply.status).toBe(202);
    expect(reply.headers['location']).toBe(`/job/${reply.body.job.job_id}`);
    expect(reply.body).toMatchObject({
      application: 'widgetmakers',
      name: 'repo1',
      keypair: 'kp1',
      uri: null,
      committed_build: null,
      head_commit: null,
      branch: null,
      job: { kind: 'create_gitrepo', status: 'queued' },
    });
    expect((await put(`${A}/gitrepo?name=repo2`)).status).toBe(202);
    expect((await api.call('GET', `${A}/gitrepo`)).body.gitrepos).toEqual(['repo1', 'repo2']);
    expect((await put(`${A}/gitrepos?name=repo3&existing=false&gitprovider=gp1`)).status).toBe(400);
  });

  it("take the seed's complex gitdeploy as it is written there", async () => {
    const actions = {
      prepull: { stop_apache: { service: [{ name: 'httpd' }, 'dead'] } },
      postpull: { start_apache: { service: [{ name: 'httpd' }, 'running'] } },
    };
    const seed = {
      attributes: { description: 'Example gitdeploy for Elita documentation' },
      package: 'webapplication_pkg',
      location: { path: '/opt/widgetmaker', default_branch: 'master', gitrepo: 'repo1' },
      options: { favor: 'ours', 'ignore-whitespace': 'true', gitignore: ['foo.txt'] },
      actions,
    };
    const reply = await put(`${A}/gitdeploys?name=WebApplication`, seed);
    expect(reply.status).toBe(201);
    expect(reply.body).toEqual({
      ...seed,
      application: 'widgetmakers',
      name: 'WebApplication',
      options: { ...seed.options, 'ignore-whitespace': true },
      servers: [],
      created_datetime: TIME,
    });
    const { location, ...rest } = seed;
    const { actions: _, ...plain } = rest;
    const other = { ...plain, location: { ...location, path: '/opt/other' } };
    const byAction = await put(`${A}/gitdeploy?name=Configuration`, { ...other, action: actions });
    expect(byAction).toMatchObject({ status: 201, body: { actions } });
    const both = await put(`${A}/gitdeploys?name=Third`, { ...other, action: actions, actions });
    expect(both.status).toBe(400);
    const unknown = await put(`${A}/gitdeploys?name=Third`, {
      ...other,
      actions: { prepull: { x: { 'zypper.magic': [] } } },
    });
    expect([unknown.status, unknown.body.error.code]).toEqual([400, 'invalid_input']);
    expect(
      (
        await put(`${A}/gitdeploys?name=Third`, {
          ...other,
          options: { 'ignore-whitespace': 'perhaps' },
        })
      ).status,
    ).toBe(400);
  });

  it('replace the keys that a PATCH gives', async () => {
    const reply = await api.call('PATCH', `${A}/gitdeploys/Configuration`, {
      body: { package: 'configs', options: { favor: 'theirs', 'ignore-whitespace': false } },
    });
    expect(reply.body).toMatchObject({
      package: 'configs',
      location: { path: '/opt/other' },
      options: { favor: 'theirs', 'ignore-whitespace': false, gitignore: [] },
    });
  });

  it.each([
    ['?initialize=true', { servers: ['web01.example.com'] }],
    ['?initialize=true', { servers: 'web*' }],
    ['?deinitialize=True', '"web01.*"'],
  ])('start a job to %s on %j', async (query, body) => {
    const reply = await api.call('POST', `${A}/gitdeploys/WebApplication${query}`, { body });
    expect(reply).toMatchObject({
      status: 202,
      body: {
        name: 'WebApplication',
        requested_servers: ['web01.example.com'],
        job: { status: 'queued' },
      },
    });
  });

  it.each([
    ['', { servers: ['web01.example.com'] }, 'either `initialize=true` or `deinitialize=true`'],
    ['?initialize=true&deinitialize=true', { servers: ['web01.example.com'] }, 'and not both'],
    ['?initialize=true', { servers: ['web99.example.com'] }, 'did you mean `web01.example.com`?'],
    ['?initialize=true', { servers: 'db*' }, 'matches `db*`'],
    ['?initialize=true', { servers: [] }, 'name at least one'],
    ['?initialize=true', {}, '`servers`'],
    ['?initialize=true', { servers: 7 }, '`servers`'],
  ])('refuse to start one with %o and %j', async (query, body, message) => {
    const reply = await api.call('POST', `${A}/gitdeploy/WebApplication${query}`, { body });
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toContain(message);
  });

  it('are not deleted while others need them', async () => {
    await put(`${A}/groups?name=g`, { gitdeploys: ['Configuration'] });
    expect(await api.call('DELETE', `${A}/gitrepos/repo1`)).toMatchObject({
      status: 409,
      body: {
        error: { details: { used_by: { gitdeploys: ['Configuration', 'WebApplication'] } } },
      },
    });
    expect((await api.call('DELETE', `${A}/gitdeploys/Configuration`)).status).toBe(409);
    expect((await api.call('DELETE', `${A}/gitdeploys/Configuration?cascade=true`)).status).toBe(
      200,
    );
  });
});

describe('what the body or a query parameter names', () => {
  const body = {
    package: 'p',
    location: { path: '/opt/x', gitrepo: 'repo9', default_branch: 'master' },
  };
  const ssh = { kind: 'ssh', host: 'h', user: 'u', keypair: 'kp1' };
  it.each<[string, string, unknown, string, string | undefined]>([
    ['PUT', `${A}/gitdeploys?name=x`, body, 'location.gitrepo', 'repo1'],
    [
      'PATCH',
      `${A}/gitdeploys/WebApplication`,
      { location: body.location },
      'location.gitrepo',
      'repo1',
    ],
    ['PUT', `${A}/gitrepos?name=x&keypair=kp9`, undefined, 'keypair', 'kp1'],
    ['PUT', `${A}/gitrepos?name=x&gitprovider=gp9`, undefined, 'gitprovider', undefined],
    [
      'PUT',
      '/server?name=x&environment=e',
      { connection: { ...ssh, keypair: 'kp9' } },
      'connection.keypair',
      'kp1',
    ],
    [
      'PUT',
      '/server?name=x&environment=e',
      { connection: { ...ssh, jump: 'web09.example.com' } },
      'connection.jump',
      'web01.example.com',
    ],
    [
      'POST',
      `${A}/builds/feature-login?file_type=zip&package_map=mapp`,
      'x',
      'package_map',
      'mapp1',
    ],
    [
      'POST',
      `${A}/packagemaps/mapp1/preview?build_name=feature-logins`,
      undefined,
      'build_name',
      'feature-login',
    ],
    [
      'GET',
      `${A}/builds/feature-login/diff?from=feature-logins`,
      undefined,
      'from',
      'feature-login',
    ],
  ])(
    'is bad input if it is unknown, with what was probably meant: %s %s',
    async (method, url, body, parameter, nearest) => {
      await put(`${A}/packagemaps?name=mapp1`, { packages: { p: { patterns: ['*'] } } });
      const headers = { 'content-type': 'application/octet-stream' };
      const reply = await api.call(method, url, body === 'x' ? { body, headers } : { body });
      expect(reply.status, reply.text).toBe(400);
      expect(reply.body.error).toMatchObject({
        code: 'invalid_input',
        message: expect.stringContaining('does not exist'),
        details: { parameter, ...(nearest === undefined ? {} : { nearest }) },
      });
    },
  );

  it('is told from what the path names, which is missing there', async () => {
    for (const [method, url] of [
      ['GET', `${A}/gitrepos/repo9`],
      ['POST', `${A}/packagemaps/map9/preview?build_name=feature-login`],
      ['GET', `${A}/builds/nope/diff?from=feature-login`],
    ] as const) {
      expect(await api.call(method, url), url).toMatchObject({
        status: 404,
        body: { error: { code: 'not_found' } },
      });
    }
  });
});

describe('groups', () => {
  it('give back flat lists flat, and ordered ones level by level', async () => {
    const flat = await put(`${A}/groups?name=Flat`, { gitdeploys: ['WebApplication'] });
    expect(flat).toMatchObject({
      status: 201,
      body: { gitdeploys: ['WebApplication'], rolling_deploy: false },
    });
    const ordered = await put(`${A}/groups?name=Ordered&rolling_deploy=true`, {
      gitdeploys: [['WebApplication']],
      description: 'the front end',
    });
    expect(ordered.body).toMatchObject({
      gitdeploys: [['WebApplication']],
      rolling_deploy: true,
      description: 'the front end',
    });
    const changed = await api.call('PATCH', `${A}/groups/Ordered`, {
      body: { rolling_deploy: false },
    });
    expect(changed.body).toMatchObject({ rolling_deploy: false, gitdeploys: [['WebApplication']] });
    const unknown = await put(`${A}/groups?name=x`, { gitdeploys: ['WebAplication'] });
    expect(unknown.status).toBe(400);
    expect(unknown.body.error.message).toContain('did you mean `WebApplication`?');
  });

  it.each([
    'production+staging',
    'production,staging',
    'production%20staging',
    'production%2Bstaging',
  ])('are asked for the environments %s', async (environments) => {
    await put('/server?name=s2&environment=staging', { connection: { kind: 'local', root: '/x' } });
    const reply = await api.call('GET', `${A}/groups/Flat?environments=${environments}`);
    expect(reply).toMatchObject({ status: 200, body: { servers: [] } });
  });
});

describe('deployments', () => {
  it.each([
    ['', {}, '`build_name` is missing'],
    ['?build_name=nope', { servers: ['s2'], gitdeploys: ['WebApplication'] }, 'does not exist'],
    [
      '?build_name=feature-login',
      { servers: ['s2'], gitdeploys: ['WebApplication'] },
      'upload it first',
    ],
    [
      '?build_name=feature-login&rolling_divisor=-1',
      {},
      '`rolling_divisor` must be a whole number',
    ],
    ['?build_name=feature-login&on_failure=explode', {}, '`on_failure` must be'],
    ['?build_name=feature-login', { server: ['s2'] }, 'did you mean `servers`?'],
  ])(
    'that cannot start are refused before anything is written: %s %j',
    async (query, body, message) => {
      const reply = await api.call('POST', `${A}/deployments${query}`, { body });
      expect(reply.status).toBe(400);
      expect(reply.body.error.message).toContain(message);
      expect((await api.call('GET', `${A}/deployments`)).body).toEqual({
        application: 'widgetmakers',
        deployments: [],
      });
    },
  );
});
