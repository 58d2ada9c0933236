import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packTarGz } from '../support/archive.ts';
import { addPerson, PASSWORD } from './people.ts';
import { collectRoutes, type RegisteredRoute } from './registered-routes.ts';
import { addShop, must, storeBuild } from './shop.ts';
import { type Answer, startTestApi, type TestApi, TOKEN } from './test-api.ts';

interface Event {
  readonly id: string;
  readonly time: string;
  readonly username: string;
  readonly remote_address: string | null;
  readonly request_id: string | null;
  readonly action: string;
  readonly application: string | null;
  readonly subject: string;
  readonly before: unknown;
  readonly after: unknown;
}

const A = '/app/shop';
const OTHER_PASSWORD = 'another secret pass phrase';
const PROVIDER_TOKEN = 'glpat-of-the-git-provider';
const WEBHOOK_PATH = 'T0001-path-of-a-webhook';
const WEBHOOK_SECRET = 'secret-of-a-webhook';
const URL_PASSWORD = 'password-in-a-url';
const KEY = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
}).privateKey;
/** All that is sent in these tests and must never be told again. */
const SECRETS = [
  TOKEN,
  PASSWORD,
  OTHER_PASSWORD,
  PROVIDER_TOKEN,
  URL_PASSWORD,
  KEY.slice(40, 90),
  WEBHOOK_PATH,
  WEBHOOK_SECRET,
  'muster_',
  'scrypt',
];

let api: TestApi;
let routes: RegisteredRoute[];
beforeAll(async () => {
  const started = await collectRoutes(() => startTestApi());
  api = started.result;
  routes = started.routes;
  await addShop(api);
});
afterAll(() => api.close());

const list = async (query = ''): Promise<Event[]> =>
  (await must(api, 'GET', `/audit${query}`)).body.events;

/** Runs a call, and gives its reply and the events that came of it, oldest first. */
async function watch(call: () => Promise<Answer>): Promise<{ reply: Answer; events: Event[] }> {
  const [last] = await list('?limit=1');
  const reply = await call();
  const events = (await list()).filter(({ id }) => BigInt(id) > BigInt(last?.id ?? 0));
  return { reply, events: events.reverse() };
}

interface Scenario {
  /** What must be there beforehand. */
  readonly prepare?: () => Promise<unknown>;
  readonly url: string | ((prepared: string) => string);
  readonly body?: unknown;
  readonly action: string;
  readonly application?: string;
  /** Default: what the reply or `prepare` calls it. */
  readonly subject: string | ((reply: Answer, prepared: string) => string);
}

const inShop = { application: 'shop' } as const;
const byPrepared = (_reply: Answer, prepared: string): string => prepared;

/** A deployment in a given status, with no job that runs it. */
async function deploymentIn(status: 'queued' | 'running' | 'paused' | 'failed'): Promise<string> {
  const body = { servers: ['web01'], gitdeploys: ['Web'] };
  const { id } = (await must(api, 'POST', `${A}/deployments?build_name=1.0`, body)).body;
  await api.services.database.db.deployment.update({ where: { id }, data: { status } });
  return id;
}

/** As if a deployment that has succeeded had left its server out. */
async function leaveOut(): Promise<void> {
  const id = await deploymentIn('failed');
  const { db } = api.services.database;
  const deployment = await db.deployment.update({ where: { id }, data: { status: 'succeeded' } });
  const step = await db.step.findFirstOrThrow({ where: { deploymentId: id } });
  const { serverId, gitdeployId } = step;
  const { gitrepoId, branch } = await db.gitdeploy.findUniqueOrThrow({
    where: { id: gitdeployId },
  });
  const buildId = deployment.buildId ?? '';
  const { tree } = await db.package.findFirstOrThrow({ where: { buildId, name: 'master' } });
  const commit = { gitrepoId, gitrepoName: 'repo', branch, tree, commit: 'c0ffee' };
  await db.deploymentCommit.create({ data: { ...commit, deploymentId: id, changedFiles: {} } });
  await db.installation.update({
    where: { gitdeployId_serverId: { gitdeployId, serverId } },
    data: { missedBuildId: buildId, missedDeploymentId: id, missedAt: new Date() },
  });
  // No other deployment may be under way there: it would bring something newer.
  await db.deployment.updateMany({ where: { status: 'queued' }, data: { status: 'cancelled' } });
}

const newGitdeploy = (name: string) => ({
  package: 'master',
  location: { path: `/opt/${name}`, gitrepo: 'repo', default_branch: name },
});

const control = (verb: string, status: Parameters<typeof deploymentIn>[0]): Scenario => ({
  ...inShop,
  prepare: () => deploymentIn(status),
  url: (id) => `${A}/deployments/${id}/${verb}`,
  action: `deployment.${verb}`,
  subject: byPrepared,
});

const newWebhook = { url: `https://hooks.example.com/${WEBHOOK_PATH}`, secret: WEBHOOK_SECRET };

/** Those of webhooks are there twice: for an application, and for all of them. */
function webhookScenarios(
  base: string,
  { at, ...scope }: { at: string; application?: string },
): Record<string, Scenario> {
  const add = (name: string) => () => must(api, 'PUT', `${at}/webhooks?name=${name}`, newWebhook);
  const one = `${base}/webhooks/:webhook`;
  return {
    [`PUT ${base}/webhooks`]: {
      ...scope,
      url: `${at}/webhooks?name=chat`,
      body: newWebhook,
      action: 'webhook.create',
      subject: 'chat',
    },
    [`PATCH ${one}`]: {
      ...scope,
      prepare: add('chat2'),
      url: `${at}/webhooks/chat2`,
      body: { url: `${newWebhook.url}2`, secret: WEBHOOK_SECRET },
      action: 'webhook.change',
      subject: 'chat2',
    },
    [`DELETE ${one}`]: {
      ...scope,
      prepare: add('chat3'),
      url: `${at}/webhooks/chat3`,
      action: 'webhook.delete',
      subject: 'chat3',
    },
    [`POST ${one}/ping`]: {
      ...scope,
      prepare: add('chat4'),
      url: `${at}/webhooks/chat4/ping`,
      action: 'webhook.ping',
      subject: 'chat4',
    },
    [`POST ${one}/deliveries/:delivery/resend`]: {
      ...scope,
      prepare: async () => {
        await add('chat5')();
        return (await must(api, 'POST', `${at}/webhooks/chat5/ping`)).body.id;
      },
      url: (id) => `${at}/webhooks/chat5/deliveries/${id}/resend`,
      action: 'webhook.resend',
      subject: 'chat5',
    },
  };
}

/** One for each route that changes something. */
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  ...webhookScenarios('/global', { at: '/global' }),
  ...webhookScenarios('/app/:application', { at: A, ...inShop }),
  'PUT /app': {
    url: '/app?app_name=fresh',
    action: 'application.create',
    application: 'fresh',
    subject: 'fresh',
  },
  'PATCH /app/:application': {
    ...inShop,
    url: A,
    body: { auto_catchup: true },
    action: 'application.change',
    subject: 'shop',
  },
  'POST /app/:application/catchup': {
    ...inShop,
    prepare: leaveOut,
    url: `${A}/catchup`,
    action: 'deployment.create',
    subject: (reply) => reply.body.deployments[0].id,
  },
  'DELETE /app/:application': {
    prepare: () => must(api, 'PUT', '/app?app_name=doomed'),
    url: '/app/doomed',
    action: 'application.delete',
    application: 'doomed',
    subject: 'doomed',
  },
  'PUT /app/:application/builds': {
    ...inShop,
    url: `${A}/builds?build_name=feature/x`,
    body: { attributes: { branch: 'x' } },
    action: 'build.create',
    subject: 'feature-x',
  },
  'PATCH /app/:application/builds/:build': {
    ...inShop,
    url: `${A}/builds/1.0`,
    body: { attributes: { branch: 'y' } },
    action: 'build.change',
    subject: '1.0',
  },
  'POST /app/:application/builds/:build': {
    ...inShop,
    prepare: () => must(api, 'PUT', `${A}/builds?build_name=up`),
    url: `${A}/builds/up?file_type=tar.gz&indirect_url=${encodeURIComponent(`https://ci:${URL_PASSWORD}@example.com/x.tar.gz?sig=${URL_PASSWORD}`)}`,
    action: 'build.upload',
    subject: 'up',
  },
  'DELETE /app/:application/builds/:build': {
    ...inShop,
    prepare: () => storeBuild(api, 'shop', 'old'),
    url: `${A}/builds/old`,
    action: 'build.delete',
    subject: 'old',
  },
  'PUT /app/:application/packagemaps': {
    ...inShop,
    url: `${A}/packagemaps?name=m2`,
    body: { packages: { web: { patterns: ['bin/**'], prefix: 'app/' } } },
    action: 'packagemap.create',
    subject: 'm2',
  },
  'DELETE /app/:application/packagemaps/:packagemap': {
    ...inShop,
    prepare: () =>
      must(api, 'PUT', `${A}/packagemaps?name=m3`, { packages: { web: { patterns: ['**'] } } }),
    url: `${A}/packagemaps/m3`,
    action: 'packagemap.delete',
    subject: 'm3',
  },
  'PUT /global/keypairs': {
    url: '/global/keypairs?name=given',
    body: { private_key: KEY },
    action: 'keypair.create',
    subject: 'given',
  },
  'PATCH /global/keypairs/:keypair': {
    prepare: () => must(api, 'PUT', '/global/keypairs?name=rotated&generate=true'),
    url: '/global/keypairs/rotated',
    body: { private_key: KEY },
    action: 'keypair.change',
    subject: 'rotated',
  },
  'DELETE /global/keypairs/:keypair': {
    prepare: () => must(api, 'PUT', '/global/keypairs?name=made&generate=true'),
    url: '/global/keypairs/made',
    action: 'keypair.delete',
    subject: 'made',
  },
  'PUT /global/gitproviders': {
    url: '/global/gitproviders?name=lab',
    body: { type: 'gitlab', url: 'https://gitlab.example.com', auth: { token: PROVIDER_TOKEN } },
    action: 'gitprovider.create',
    subject: 'lab',
  },
  'PATCH /global/gitproviders/:gitprovider': {
    prepare: () =>
      must(api, 'PUT', '/global/gitproviders?name=lab3', {
        type: 'gitlab',
        auth: { token: 'an-old-token' },
      }),
    url: '/global/gitproviders/lab3',
    body: { auth: { token: PROVIDER_TOKEN } },
    action: 'gitprovider.change',
    subject: 'lab3',
  },
  'DELETE /global/gitproviders/:gitprovider': {
    prepare: () =>
      must(api, 'PUT', '/global/gitproviders?name=lab2', {
        type: 'gitlab',
        url: 'https://gitlab.example.com',
        auth: { token: PROVIDER_TOKEN },
      }),
    url: '/global/gitproviders/lab2',
    action: 'gitprovider.delete',
    subject: 'lab2',
  },
  'PUT /server': {
    url: '/server?name=s1&environment=testing',
    body: { connection: { kind: 'local', root: '/nowhere' } },
    action: 'server.create',
    subject: 's1',
  },
  'PATCH /server/:server': {
    url: '/server/web01',
    body: { datacenter: 'north' },
    action: 'server.change',
    subject: 'web01',
  },
  'POST /server/:server': {
    url: '/server/web01?check=true',
    action: 'server.check',
    subject: 'web01',
  },
  'DELETE /server/:server': {
    prepare: () =>
      must(api, 'PUT', '/server?name=s2&environment=testing', {
        connection: { kind: 'local', root: '/nowhere' },
      }),
    url: '/server/s2',
    action: 'server.delete',
    subject: 's2',
  },
  'PUT /app/:application/gitrepos': {
    ...inShop,
    url: `${A}/gitrepos?name=repo2`,
    action: 'gitrepo.create',
    subject: 'repo2',
  },
  'DELETE /app/:application/gitrepos/:gitrepo': {
    ...inShop,
    prepare: () => must(api, 'PUT', `${A}/gitrepos?name=repo3`),
    url: `${A}/gitrepos/repo3`,
    action: 'gitrepo.delete',
    subject: 'repo3',
  },
  'PUT /app/:application/gitdeploys': {
    ...inShop,
    url: `${A}/gitdeploys?name=g1`,
    body: newGitdeploy('g1'),
    action: 'gitdeploy.create',
    subject: 'g1',
  },
  'PATCH /app/:application/gitdeploys/:gitdeploy': {
    ...inShop,
    prepare: () => must(api, 'PUT', `${A}/gitdeploys?name=g2`, newGitdeploy('g2')),
    url: `${A}/gitdeploys/g2`,
    body: { package: 'web' },
    action: 'gitdeploy.change',
    subject: 'g2',
  },
  'POST /app/:application/gitdeploys/:gitdeploy': {
    ...inShop,
    prepare: () => must(api, 'PUT', `${A}/gitdeploys?name=g3`, newGitdeploy('g3')),
    url: `${A}/gitdeploys/g3?initialize=true`,
    body: { servers: ['web01'] },
    action: 'gitdeploy.initialize',
    subject: 'g3',
  },
  'DELETE /app/:application/gitdeploys/:gitdeploy': {
    ...inShop,
    prepare: () => must(api, 'PUT', `${A}/gitdeploys?name=g4`, newGitdeploy('g4')),
    url: `${A}/gitdeploys/g4`,
    action: 'gitdeploy.delete',
    subject: 'g4',
  },
  'PUT /app/:application/groups': {
    ...inShop,
    url: `${A}/groups?name=front&rolling_deploy=true`,
    body: { gitdeploys: [['Web']], description: 'the front' },
    action: 'group.create',
    subject: 'front',
  },
  'PATCH /app/:application/groups/:group': {
    ...inShop,
    url: `${A}/groups/All`,
    body: { description: 'everything' },
    action: 'group.change',
    subject: 'All',
  },
  'DELETE /app/:application/groups/:group': {
    ...inShop,
    prepare: () => must(api, 'PUT', `${A}/groups?name=back`, { gitdeploys: ['Web'] }),
    url: `${A}/groups/back`,
    action: 'group.delete',
    subject: 'back',
  },
  'POST /app/:application/deployments': {
    ...inShop,
    url: `${A}/deployments?build_name=1.0&reason=because`,
    body: { servers: ['web01'], gitdeploys: ['Web'] },
    action: 'deployment.create',
    subject: (reply) => reply.body.id,
  },
  'POST /app/:application/deployments/:deployment/cancel': control('cancel', 'queued'),
  'POST /app/:application/deployments/:deployment/pause': control('pause', 'running'),
  'POST /app/:application/deployments/:deployment/resume': control('resume', 'paused'),
  'POST /app/:application/deployments/:deployment/retry': control('retry', 'failed'),
  'POST /app/:application/deployments/:deployment/rollback': control('rollback', 'failed'),
  'POST /app/:application/deployments/:deployment/approve': {
    ...control('approve', 'running'),
    prepare: async () => {
      const deploymentId = await deploymentIn('running');
      const { db } = api.services.database;
      const data = { finishedAt: new Date(), approvalAfter: true };
      await db.batch.updateMany({ where: { deploymentId }, data });
      return deploymentId;
    },
  },
  'POST /app/:application/deployments/:deployment/override_freeze': {
    ...control('override_freeze', 'queued'),
    url: (id) => `${A}/deployments/${id}/override_freeze?reason=hotfix`,
  },
  'PUT /server/environments/:environment/freezewindows': {
    url: '/server/environments/production/freezewindows?name=weekend',
    body: { schedule: '0 18 * * 5', duration: 3600, reason: 'weekend' },
    action: 'freezewindow.create',
    subject: 'production/weekend',
  },
  'DELETE /server/environments/:environment/freezewindows/:freezewindow': {
    prepare: () =>
      must(api, 'PUT', '/server/environments/testing/freezewindows?name=night', {
        schedule: '0 22 * * *',
        duration: 3600,
      }),
    url: '/server/environments/testing/freezewindows/night',
    action: 'freezewindow.delete',
    subject: 'testing/night',
  },
  'POST /job/:job/cancel': {
    ...inShop,
    prepare: async () => (await must(api, 'PUT', `${A}/gitrepos?name=repo4`)).body.job.job_id,
    url: (id) => `/job/${id}/cancel`,
    action: 'job.cancel',
    subject: byPrepared,
  },
  'PUT /global/users': {
    url: '/global/users?username=bob',
    body: { password: PASSWORD, permissions: { apps: { shop: 'read' } } },
    action: 'user.create',
    subject: 'bob',
  },
  'PATCH /global/users/:user': {
    url: '/global/users/admin',
    body: { password: OTHER_PASSWORD },
    action: 'user.change',
    subject: 'admin',
  },
  'DELETE /global/users/:user': {
    prepare: () => must(api, 'PUT', '/global/users?username=carl', { password: PASSWORD }),
    url: '/global/users/carl',
    action: 'user.delete',
    subject: 'carl',
  },
  'POST /global/tokens': {
    prepare: () => must(api, 'PATCH', '/global/users/admin', { password: PASSWORD }),
    url: '/global/tokens',
    body: { username: 'admin', password: PASSWORD, name: 'ci', expires_in: 60 },
    action: 'token.create',
    subject: (reply) => reply.body.id,
  },
  'DELETE /global/tokens/:token': {
    prepare: async () => {
      await addPerson(api, 'dora');
      const { db } = api.services.database;
      return (await db.token.findFirstOrThrow({ where: { user: { username: 'dora' } } })).id;
    },
    url: (id) => `/global/tokens/${id}`,
    action: 'token.delete',
    subject: byPrepared,
  },
};

/** Of these the audit tells what was asked for; the reply, what Muster made of it. */
const TOLD_OTHERWISE = ['deployment.create', 'gitprovider.create'];

/** These only compute. */
const CHANGES_NOTHING = ['POST /app/:application/packagemaps/:packagemap/preview'];

/** The seed's other spelling of a path. */
const SPELLINGS: readonly (readonly [RegExp, string])[] = [
  [/\/gitrepo(?=\/|$)/, '/gitrepos'],
  [/\/gitdeploy(?=\/|$)/, '/gitdeploys'],
];

describe('every route that changes something', () => {
  it('has a scenario here', () => {
    const changing = routes
      .filter(({ method }) => !['GET', 'HEAD', 'OPTIONS'].includes(method))
      .map(
        ({ method, url }) => `${method} ${SPELLINGS.reduce((u, [a, b]) => u.replace(a, b), url)}`,
      );
    expect([...new Set(changing)].sort()).toEqual(
      [...Object.keys(SCENARIOS), ...CHANGES_NOTHING].sort(),
    );
  });

  it.each(Object.entries(SCENARIOS))(
    'writes one event that tells what was done, and no secret: %s',
    async (route, { prepare, url, body, action, application = null, subject }) => {
      const prepared = String((await prepare?.()) ?? '');
      const [method = ''] = route.split(' ');
      const address = typeof url === 'string' ? url : url(prepared);
      const { reply, events } = await watch(() => api.call(method, address, { body }));
      expect(reply.status, reply.text).toBeLessThan(300);
      expect(events).toEqual([
        {
          id: expect.stringMatching(/^\d+$/),
          time: expect.stringMatching(/Z$/),
          username: 'admin',
          remote_address: '127.0.0.1',
          request_id: reply.headers['x-request-id'],
          action,
          application,
          subject: typeof subject === 'string' ? subject : subject(reply, prepared),
          before: events[0]?.before,
          after: events[0]?.after,
        },
      ]);
      const told = JSON.stringify(events);
      for (const secret of SECRETS) expect(told).not.toContain(secret);
      // What the audit keeps of a new thing is what its creator was shown.
      if (action.endsWith('.create') && !TOLD_OTHERWISE.includes(action)) {
        expect(reply.body).toMatchObject(Object(events[0]?.after));
      }
      if (method === 'DELETE') expect(events[0]?.before).toBeInstanceOf(Object);
    },
  );

  it('tells what was there before and after', async () => {
    await must(api, 'PATCH', `${A}/groups/All`, { description: 'first' });
    const { events } = await watch(() =>
      must(api, 'PATCH', `${A}/groups/All`, { description: 'second' }),
    );
    const group = { name: 'All', gitdeploys: ['Web'], rolling_deploy: false, attributes: {} };
    expect(events[0]).toMatchObject({
      before: { ...group, description: 'first' },
      after: { ...group, description: 'second' },
    });
  });

  it('writes the upload of an archive down with its checksum', async () => {
    await must(api, 'PUT', `${A}/builds?build_name=direct`);
    const body = await packTarGz({ 'index.html': 'hello' });
    const { reply, events } = await watch(() =>
      api.call('POST', `${A}/builds/direct?file_type=tar.gz`, { body }),
    );
    expect(events).toMatchObject([
      { action: 'build.upload', after: { sha256: reply.body.sha256, size_bytes: body.length } },
    ]);
  });

  it('writes nothing where nothing was changed', async () => {
    const nothing: [string, string, unknown?][] = [
      ['GET', A],
      ['PUT', '/app?app_name=shop'],
      ['PUT', `${A}/groups?name=x`, { gitdeploys: ['unknown'] }],
      ['DELETE', `${A}/gitrepos/repo`],
      ['PATCH', '/global/users/admin', { permissions: {} }],
      ['POST', `${A}/packagemaps/map/preview?build_name=unknown`],
      ['POST', `${A}/deployments?build_name=1.0&dry_run=true`, { servers: [], gitdeploys: [] }],
    ];
    for (const [method, url, body] of nothing) {
      const { events } = await watch(() => api.call(method, url, { body }));
      expect([method, url, events]).toEqual([method, url, []]);
    }
  });

  it('writes one event for a request that is sent again with its Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'once' };
    const { events } = await watch(async () => {
      await api.call('PUT', `${A}/builds?build_name=once`, { headers });
      return api.call('PUT', `${A}/builds?build_name=once`, { headers });
    });
    expect(events.map(({ action }) => action)).toEqual(['build.create']);
  });
});

describe('what was refused', () => {
  it('is written down as login.failed, once in a minute, without what was typed', async () => {
    await addPerson(api, 'erna');
    const { events } = await watch(async () => {
      const attempts = [
        ['erna', 'wrong password'],
        ['erna', 'wrong password again'],
        ['typed-my-password-here', 'x'],
        ['unknown', 'wrong password'],
      ];
      let reply = await api.call('GET', '/');
      for (const [username, password] of attempts) {
        reply = await api.call('POST', '/global/tokens', { body: { username, password } });
      }
      return reply;
    });
    const failed = { action: 'login.failed', remote_address: '127.0.0.1', application: null };
    expect(events).toMatchObject([
      { ...failed, username: 'erna', subject: 'erna' },
      { ...failed, username: '-', subject: '-' },
    ]);
    expect(JSON.stringify(events)).not.toMatch(/typed-my|wrong/);
  });

  it('is written down as request.denied, once in a minute, without the query', async () => {
    const fred = await addPerson(api, 'fred', { apps: { shop: 'read' } });
    const { events } = await watch(async () => {
      await fred.call('PUT', `${A}/builds?build_name=query-of-fred`);
      await fred.call('GET', '/server');
      return fred.call('GET', '/audit');
    });
    expect(events).toMatchObject([
      {
        action: 'request.denied',
        username: 'fred',
        application: 'shop',
        subject: `PUT ${A}/builds`,
        after: { reason: expect.stringContaining('may not write application `shop`') },
      },
    ]);
    expect(JSON.stringify(events)).not.toContain('query-of-fred');
  });
});

describe('GET /audit', () => {
  it('finds events by user, application, action and time, newest first', async () => {
    const gina = await addPerson(api, 'gina', { apps: { mine: 'read/write' } });
    const before = new Date().toISOString();
    await gina.call('PUT', '/app?app_name=mine');
    await gina.call('PUT', '/app/mine/builds?build_name=b1');
    const actions = async (query: string) => (await list(query)).map(({ action }) => action);
    expect(await actions('?user=gina')).toEqual([
      'build.create',
      'application.create',
      'token.create',
    ]);
    expect(await actions('?application=mine')).toEqual(['build.create', 'application.create']);
    expect(await actions('?user=gina&action=build.create')).toEqual(['build.create']);
    expect(await actions('?user=gina&action=token.*')).toEqual(['token.create']);
    expect(await actions('?user=gina&action=token')).toEqual([]);
    expect(await actions(`?user=gina&since=${before}`)).toEqual([
      'build.create',
      'application.create',
    ]);
    expect(await actions(`?user=gina&until=${before}`)).toEqual(['token.create']);
    const shifted = `${new Date(Date.parse(before) + 7_200_000).toISOString().slice(0, -1)}+02:00`;
    expect(await actions(`?user=gina&until=${shifted}`)).toEqual(['token.create']);
    expect(await actions('?user=gina&until=2020-01-01')).toEqual([]);
    expect((await actions('?user=-')).includes('user.create')).toBe(true);
  });

  it('goes page by page', async () => {
    const first = await must(api, 'GET', '/audit?limit=2');
    expect(first.body.events).toHaveLength(2);
    expect(first.body.next).toBe(first.body.events[1].id);
    const second = await must(api, 'GET', `/audit?limit=2&after=${first.body.next}`);
    const ids = [...first.body.events, ...second.body.events].map(({ id }: Event) => BigInt(id));
    expect([...ids].sort((a, b) => (a > b ? -1 : 1))).toEqual(ids);
    expect(new Set(ids).size).toBe(4);
    const last = await must(api, 'GET', '/audit?user=gina&limit=3');
    expect(last.body).not.toHaveProperty('next');
  });

  it.each([
    'limit=0',
    'limit=1001',
    'after=x',
    'since=yesterday',
    'until=2026-13-01',
    'username=x',
  ])('refuses %s', async (query) => {
    expect((await api.call('GET', `/audit?${query}`)).status).toBe(400);
  });

  it('is for those who may read `_global`', async () => {
    const hugo = await addPerson(api, 'hugo', { apps: { '*': 'read/write' } });
    const ilse = await addPerson(api, 'ilse', { apps: { _global: 'read' } });
    expect((await hugo.call('GET', '/audit')).status).toBe(403);
    expect((await ilse.call('GET', '/audit')).status).toBe(200);
  });
});

describe('where a request came from', () => {
  it.each([
    ['', '198.51.100.7', '127.0.0.1'],
    ['loopback', '198.51.100.7', '198.51.100.7'],
    ['1', '203.0.113.9, 198.51.100.7', '198.51.100.7'],
  ])('is, with MUSTER_TRUST_PROXY=%s and %s, %s', async (setting, forwarded, address) => {
    const own = await startTestApi({ settings: { MUSTER_TRUST_PROXY: setting } });
    try {
      const headers = { 'x-forwarded-for': forwarded };
      await own.call('PUT', '/app?app_name=shop', { headers });
      const [event] = (await own.call('GET', '/audit?user=admin')).body.events;
      expect(event).toMatchObject({ action: 'application.create', remote_address: address });
    } finally {
      await own.close();
    }
  });
});
