import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addPerson, type Person } from './people.ts';
import { collectRoutes, type RegisteredRoute } from './registered-routes.ts';
import { addShop, must } from './shop.ts';
import { type Answer, startTestApi, type TestApi } from './test-api.ts';

const UNKNOWN_ID = '00000000-0000-7000-8000-000000000000';

/** What stands in a path: things that exist, and things that do not. */
const EXISTING: Record<string, string> = {
  application: 'shop',
  build: '1.0',
  package: 'master',
  packagemap: 'map',
  gitrepo: 'repo',
  gitdeploy: 'Web',
  environment: 'production',
  freezewindow: 'weekend',
  group: 'All',
  server: 'web01',
  keypair: 'key',
  gitprovider: 'lab',
  webhook: 'hook',
  user: 'admin',
};
const MISSING: Record<string, string> = {
  ...Object.fromEntries(Object.keys(EXISTING).map((key) => [key, 'missing'])),
  deployment: UNKNOWN_ID,
  job: UNKNOWN_ID,
  token: UNKNOWN_ID,
  delivery: UNKNOWN_ID,
};

const fill = (url: string, values: Record<string, string>): string =>
  url.replaceAll(/:(\w+)/g, (_all, key: string) => {
    const value = values[key];
    if (value === undefined) throw new Error(`the test does not know what to put for :${key}`);
    return value;
  });

/** What everybody with a token may ask: it shows what is the caller's own. */
const SHOWS_OWN: Readonly<Record<string, unknown>> = {
  'GET /app': { applications: [] },
  'GET /job': { jobs: [] },
  'GET /server': { servers: [] },
  'GET /server/environments': { environments: {} },
  'GET /global/tokens': { tokens: [expect.objectContaining({ current: true })] },
};

let api: TestApi;
let routes: RegisteredRoute[];
const people = new Map<string, Person>();
beforeAll(async () => {
  const started = await collectRoutes(() => startTestApi());
  api = started.result;
  routes = started.routes.filter(({ method }) => method !== 'HEAD');
  await addShop(api);
  await must(api, 'PUT', '/global/keypairs?name=key&generate=true');
  await must(api, 'PUT', '/global/gitproviders?name=lab', {
    type: 'gitlab',
    url: 'https://gitlab.example.com',
    auth: { token: 'a-token' },
  });
  const hook = { url: 'https://hooks.example.com/x' };
  await must(api, 'PUT', '/global/webhooks?name=hook', hook);
  await must(api, 'PUT', '/app/shop/webhooks?name=hook', hook);
  EXISTING['delivery'] = (await must(api, 'POST', '/app/shop/webhooks/hook/ping')).body.id;
  const asked = { servers: ['web01'], gitdeploys: ['Web'] };
  const deployment = await must(api, 'POST', '/app/shop/deployments?build_name=1.0', asked);
  EXISTING['deployment'] = deployment.body.id;
  EXISTING['job'] = deployment.body.job.job_id;
  const { db } = api.services.database;
  EXISTING['token'] = (await db.token.findFirstOrThrow()).id;
  for (const [username, permissions] of Object.entries({
    nobody: {},
    reader: { apps: { shop: 'read' } },
    writer: { apps: { shop: 'write' } },
    elsewhere: { apps: { '*': 'read/write', shop: '' }, servers: ['*'] },
    'global-reader': { apps: { _global: 'read' } },
    'global-writer': { apps: { _global: 'write' } },
  })) {
    people.set(username, await addPerson(api, username, permissions));
  }
});
afterAll(() => api.close());

const person = (username: string): Person => {
  const found = people.get(username);
  if (found === undefined) throw new Error(`the test has nobody called ${username}`);
  return found;
};

const call = (who: Person, { method, url }: RegisteredRoute, names: Record<string, string>) => {
  const query = method === 'PUT' && url === '/app' ? `?app_name=${names['application']}` : '';
  return who.call(method, `${fill(url, names)}${query}`);
};

/** A reply without what was asked for, so that it can be compared with the reply for something else. */
const withoutNames = ({ status, text }: Answer, names: Record<string, string>): string =>
  Object.values(names)
    .reduce(
      (all, name) => all.replaceAll(new RegExp(`(?<=["\`/ ])${name}(?=["\`;])`, 'g'), '…'),
      `${status} ${text}`,
    )
    .replace(/"request_id":"[^"]*"/, '');

describe('default deny', () => {
  it('holds on every route for a user who may do nothing, and tells nothing of what exists', async () => {
    const nobody = person('nobody');
    const leaks: string[] = [];
    let walked = 0;
    for (const route of routes.filter(({ permission }) => permission?.scope !== 'open')) {
      const name = `${route.method} ${route.url}`;
      const existing = await call(nobody, route, EXISTING);
      const missing = await call(nobody, route, MISSING);
      const isDenied = [403, 404].includes(existing.status);
      const isOwn = name in SHOWS_OWN && existing.status === 200;
      if (!isDenied && !isOwn) leaks.push(`${name} answers ${existing.status}`);
      if (isOwn) expect(existing.body).toEqual(SHOWS_OWN[name]);
      else if (withoutNames(existing, EXISTING) !== withoutNames(missing, MISSING)) {
        leaks.push(`${name} tells whether it exists`);
      }
      walked += 1;
    }
    expect(leaks).toEqual([]);
    expect(walked).toBeGreaterThan(50);
  });

  it('leaves open only what needs no user', () => {
    const open = routes
      .filter(({ permission }) => permission?.scope === 'open')
      .map(({ method, url }) => `${method} ${url}`)
      .filter((name) => !name.startsWith('GET /docs'));
    expect(open.sort()).toEqual([
      'GET /',
      'GET /healthz',
      'GET /openapi.json',
      'GET /readyz',
      'POST /global/tokens',
    ]);
  });
});

describe('the declared permission of a route', () => {
  /** Whether somebody gets past the permissions of a route that declares this. */
  const MATRIX: Readonly<Record<string, Readonly<Record<string, boolean>>>> = {
    'application read': {
      nobody: false,
      reader: true,
      writer: false,
      elsewhere: false,
      'global-reader': false,
      'global-writer': false,
    },
    'application write': {
      nobody: false,
      reader: false,
      writer: true,
      elsewhere: false,
      'global-reader': false,
      'global-writer': false,
    },
    'global read': {
      nobody: false,
      reader: false,
      writer: false,
      elsewhere: false,
      'global-reader': true,
      'global-writer': false,
    },
    'global write': {
      nobody: false,
      reader: false,
      writer: false,
      elsewhere: false,
      'global-reader': false,
      'global-writer': true,
    },
  };

  it.each(Object.entries(MATRIX))('%s lets exactly these through', async (declared, expected) => {
    const [scope, access] = declared.split(' ');
    const wrong: string[] = [];
    const declaring = routes.filter(
      ({ permission: p }) =>
        p !== undefined && 'access' in p && p.scope === scope && p.access === access,
    );
    expect(declaring.length).toBeGreaterThan(2);
    for (const route of declaring) {
      for (const [username, isAllowed] of Object.entries(expected)) {
        // All but the application is missing, and it is in use, so that nothing changes whoever is let through.
        const reply = await call(person(username), route, { ...MISSING, application: 'shop' });
        const passed = reply.status !== 403;
        if (passed !== isAllowed) {
          wrong.push(`${route.method} ${route.url} answers ${username} with ${reply.status}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('looking at servers', () => {
  let web: Person;
  beforeAll(async () => {
    web = await addPerson(api, 'looks-at-web', { apps: { shop: 'read' }, servers: ['web*', 'x9'] });
  });

  it('shows those that may be deployed to, and no others', async () => {
    expect((await web.call('GET', '/server')).body).toEqual({ servers: ['web01', 'web02'] });
    const { body } = await web.call('GET', '/server/environments');
    expect(Object.values(body.environments).flat().sort()).toEqual(['web01', 'web02']);
    const all = await must(api, 'GET', '/server');
    expect(all.body.servers).toEqual(expect.arrayContaining(['db01', 'web01', 'web02']));
    const globalReader = await person('global-reader').call('GET', '/server');
    expect(globalReader.body).toEqual(all.body);
  });

  it('goes page by page over what is shown', async () => {
    const first = await web.call('GET', '/server?limit=1');
    expect(first.body).toEqual({ servers: ['web01'], next: 'web01' });
    const second = await web.call('GET', '/server?limit=1&after=web01&details=true');
    expect(second.body).toEqual({ servers: [expect.objectContaining({ name: 'web02' })] });
  });

  it('shows of one neither how it is reached nor the applications that may not be read', async () => {
    const shown = await web.call('GET', '/server/web01');
    const full = await must(api, 'GET', '/server/web01');
    expect(shown.body).toEqual({ ...full.body, connection: { kind: full.body.connection.kind } });
    expect(full.body.gitdeploys).toHaveLength(1);
    expect(Object.keys(full.body.connection).length).toBeGreaterThan(1);
    const blind = await addPerson(api, 'blind', { servers: ['web01'] });
    expect((await blind.call('GET', '/server/web01')).body.gitdeploys).toEqual([]);
    const listed = await web.call('GET', '/server?details=true');
    expect(listed.body.servers[0].connection).toEqual(shown.body.connection);
  });

  it('refuses a single one that is not shown in the same words, whether it exists or not', async () => {
    const existing = await web.call('GET', '/server/db01');
    const missing = await web.call('GET', '/server/db99');
    expect([existing.status, missing.status]).toEqual([403, 403]);
    expect(existing.body.error.message.replace('db01', 'db99')).toBe(missing.body.error.message);
    // What may be looked at and is not there is told so, by the names that may be known.
    const unknown = await web.call('GET', '/server/x9');
    expect(unknown.status).toBe(404);
    expect(unknown.body.error.message).toMatch(/`web01`.+`web02`/);
    expect(unknown.text).not.toContain('db01');
  });
});

describe('names of servers', () => {
  const GITDEPLOYS = { gitdeploys: ['Web'] };
  let web: Person;
  beforeAll(async () => {
    web = await addPerson(api, 'asks-for-web', { apps: { shop: 'write' }, servers: ['web*'] });
  });

  it.each([
    ['a deployment', '/app/shop/deployments?build_name=1.0', GITDEPLOYS],
    ['a dry run', '/app/shop/deployments?build_name=1.0&dry_run=true', GITDEPLOYS],
    ['a deployment of an unknown build', '/app/shop/deployments?build_name=9', GITDEPLOYS],
    ['initializing', '/app/shop/gitdeploys/Web?initialize=true', {}],
    ['deinitializing', '/app/shop/gitdeploys/Web?deinitialize=true', {}],
  ])('that may not be touched are refused before %s looks for them', async (_what, url, rest) => {
    const ask = (server: string) => web.call('POST', url, { body: { ...rest, servers: [server] } });
    const existing = await ask('db01');
    const missing = await ask('db99');
    expect([existing.status, missing.status]).toEqual([403, 403]);
    expect(existing.body.error.message.replace('db01', 'db99')).toBe(missing.body.error.message);
    expect(missing.body.error.details).toEqual({ servers: ['db99'] });
  });

  it.each([
    ['a deployment', '/app/shop/deployments?build_name=1.0', GITDEPLOYS],
    ['initializing', '/app/shop/gitdeploys/Web?initialize=true', {}],
  ])('that may be touched are looked for by %s', async (_what, url, rest) => {
    const reply = await web.call('POST', url, { body: { ...rest, servers: ['web03'] } });
    expect([reply.status, reply.body.error.code]).toEqual([400, 'invalid_input']);
    expect(reply.body.error.details.unknown).toEqual({ servers: ['web03'] });
    expect(reply.body.error.details.nearest).toEqual({ servers: { web03: 'web01' } });
  });

  it('of other applications are not found out by their environments', async () => {
    await must(api, 'PUT', '/server?name=secret01&environment=secret', {
      connection: { kind: 'local', root: '/srv' },
    });
    const ask = async (who: Person, environment: string) => {
      const body = { environments: [environment], groups: ['All'] };
      return who.call('POST', '/app/shop/deployments?build_name=1.0', { body });
    };
    const [existing, missing] = [await ask(web, 'secret'), await ask(web, 'zecret')];
    expect([existing.status, missing.status]).toEqual([400, 400]);
    expect(existing.body.error.message.replace('`secret`', '`zecret`')).toBe(
      missing.body.error.message,
    );
    const everywhere = await addPerson(api, 'everywhere', {
      apps: { shop: 'write' },
      servers: ['*'],
    });
    expect((await ask(everywhere, 'secret')).body.error.code).toBe('no_servers');
    await must(api, 'DELETE', '/server/secret01');
  });
});

describe('servers', () => {
  const NAMED = { servers: ['web01', 'db01'], gitdeploys: ['Web'] };
  const GROUPS = { environments: ['production', 'staging'], groups: ['All'] };
  let web: Person;
  beforeAll(async () => {
    web = await addPerson(api, 'web', { apps: { shop: 'read/write' }, servers: ['web*'] });
  });
  const deployments = async (): Promise<string[]> =>
    (await must(api, 'GET', '/app/shop/deployments')).body.deployments;

  it.each([
    ['a manual deployment', '/app/shop/deployments?build_name=1.0', NAMED],
    ['a group deployment', '/app/shop/deployments?build_name=1.0', GROUPS],
    ['a dry run', '/app/shop/deployments?build_name=1.0&dry_run=true', GROUPS],
    ['initializing', '/app/shop/gitdeploys/Web?initialize=true', { servers: ['web01', 'db01'] }],
    ['initializing by a glob', '/app/shop/gitdeploys/Web?initialize=true', { servers: '*' }],
    ['deinitializing', '/app/shop/gitdeploy/Web?deinitialize=true', { servers: ['db01'] }],
  ])('that are not allowed stop %s as a whole, and are named', async (_what, url, body) => {
    const before = await deployments();
    const jobs = await api.services.database.db.job.count();
    const reply = await web.call('POST', url, { body });
    expect(reply).toMatchObject({
      status: 403,
      body: { error: { code: 'forbidden', details: { servers: ['db01'] } } },
    });
    expect(reply.body.error.message).toContain('may not touch server `db01`');
    expect(await deployments()).toEqual(before);
    expect(await api.services.database.db.job.count()).toBe(jobs);
  });

  it.each([
    ['a manual deployment', 'deployments?build_name=1.0', { ...NAMED, servers: ['web01'] }, 202],
    [
      'a group deployment',
      'deployments?build_name=1.0',
      { ...GROUPS, environments: ['production'] },
      202,
    ],
    ['initializing by a glob', 'gitdeploys/Web?initialize=true', { servers: 'web*' }, 202],
  ])('that are allowed let %s start', async (_what, url, body, status) => {
    expect((await web.call('POST', `/app/shop/${url}`, { body })).status).toBe(status);
  });

  it('hold for what goes on with a deployment, but everybody who may write it may stop it', async () => {
    const created = await must(api, 'POST', '/app/shop/deployments?build_name=1.0', NAMED);
    const { id } = created.body;
    const ask = async (verb: string, status: 'queued' | 'running' | 'paused' | 'failed') => {
      await api.services.database.db.deployment.update({ where: { id }, data: { status } });
      return (await web.call('POST', `/app/shop/deployments/${id}/${verb}`)).status;
    };
    expect(await ask('resume', 'paused')).toBe(403);
    expect(await ask('retry', 'failed')).toBe(403);
    expect(await ask('rollback', 'failed')).toBe(403);
    expect(await ask('pause', 'running')).toBe(202);
    expect(await ask('cancel', 'running')).toBe(202);
  });
});
