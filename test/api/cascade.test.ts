import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addPerson } from './people.ts';
import { must } from './shop.ts';
import { startTestApi, type TestApi } from './test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const remove = (url: string) => api.call('DELETE', url);
const names = async (url: string, noun: string): Promise<string[]> =>
  (await must(api, 'GET', url)).body[noun];

/** Deletions since the last event before `call`, as `action application/subject`, sorted. */
async function eventsOf(call: () => Promise<unknown>): Promise<string[]> {
  const { db } = api.services.database;
  const last = await db.auditEvent.findFirst({ orderBy: { id: 'desc' } });
  await call();
  const events = await db.auditEvent.findMany({ where: { id: { gt: last?.id ?? 0n } } });
  return events.map((e) => `${e.action} ${e.application ?? '-'}/${e.subject}`).sort();
}

interface Estate {
  readonly app: string;
  readonly keypair: string;
  readonly gitprovider: string;
  readonly server: string;
  readonly reached: string;
}

let estates = 0;
/**
 * An application with two gitrepos that use a keypair (and one of them a git provider), a gitdeploy of each, both in the
 * group `All`; two servers that use the keypair, one of them reached through the other; `Web` is initialized on both.
 */
async function addEstate(): Promise<Estate> {
  estates += 1;
  const estate = {
    app: `app${estates}`,
    keypair: `kp${estates}`,
    gitprovider: `gp${estates}`,
    server: `jump${estates}`,
    reached: `web${estates}`,
  };
  const { app, keypair, gitprovider, server, reached } = estate;
  await must(api, 'PUT', `/app?app_name=${app}`);
  await must(api, 'PUT', `/global/keypairs?name=${keypair}&generate=true`);
  await must(api, 'PUT', `/global/gitproviders?name=${gitprovider}`, {
    type: 'gitea',
    url: 'https://git.example.com',
    auth: { token: 'a-token' },
  });
  const ssh = { kind: 'ssh', host: 'h', user: 'u', keypair };
  await must(api, 'PUT', `/server?name=${server}&environment=e`, { connection: ssh });
  await must(api, 'PUT', `/server?name=${reached}&environment=e`, {
    connection: { ...ssh, jump: server },
  });
  const at = `/app/${app}`;
  await must(api, 'PUT', `${at}/gitrepos?name=web&keypair=${keypair}&gitprovider=${gitprovider}`);
  await must(api, 'PUT', `${at}/gitrepos?name=conf&keypair=${keypair}`);
  for (const [name, gitrepo] of [
    ['Web', 'web'],
    ['Conf', 'conf'],
  ]) {
    await must(api, 'PUT', `${at}/gitdeploys?name=${name}`, {
      package: 'master',
      location: { path: `/opt/${name}`, gitrepo, default_branch: 'master' },
    });
  }
  await must(api, 'PUT', `${at}/groups?name=All`, { gitdeploys: [['Web'], ['Conf']] });
  const { db } = api.services.database;
  const { id: gitdeployId } = await gitdeployOf(app, 'Web');
  for (const name of [server, reached]) {
    const { id: serverId } = await db.server.findUniqueOrThrow({ where: { name } });
    const commit = '0'.repeat(40);
    await db.installation.create({
      data: { gitdeployId, serverId, deployedCommit: commit, headCommit: commit },
    });
  }
  return estate;
}

const gitdeployOf = (application: string, name: string) =>
  api.services.database.db.gitdeploy.findFirstOrThrow({
    where: { name, application: { name: application } },
  });

/** A deployment of a gitdeploy to nowhere in particular, under way. */
async function startDeployment(application: string, gitdeploy: string): Promise<string> {
  const { db } = api.services.database;
  const { id: gitdeployId, applicationId } = await gitdeployOf(application, gitdeploy);
  const row = await db.deployment.create({
    data: {
      applicationId,
      buildName: 'b',
      username: 'admin',
      status: 'running',
      target: {},
      options: {},
      batches: { create: { index: 0, slice: 0, level: 0, ordered: false, pauseAfterSeconds: 0 } },
    },
    include: { batches: true },
  });
  await db.step.create({
    data: {
      batchId: row.batches[0]?.id ?? '',
      deploymentId: row.id,
      serverId: row.id,
      serverName: 's',
      gitdeployId,
      gitdeployName: gitdeploy,
    },
  });
  return row.id;
}

describe('deleting what others need', () => {
  it('is refused, names them and says what to do', async () => {
    const { app, keypair, gitprovider, server, reached } = await addEstate();
    const uses: [string, Record<string, string[]>][] = [
      [`/app/${app}/gitrepos/web`, { gitdeploys: ['Web'] }],
      [
        `/app/${app}/gitdeploys/Web`,
        { groups: ['All'], installations: [`Web@${server}`, `Web@${reached}`] },
      ],
      [`/server/${server}`, { servers: [reached], installations: [`${app}/Web@${server}`] }],
      [
        `/global/keypairs/${keypair}`,
        { servers: [server, reached], gitrepos: [`${app}/conf`, `${app}/web`] },
      ],
      [`/global/gitproviders/${gitprovider}`, { gitrepos: [`${app}/web`] }],
    ];
    for (const [url, usedBy] of uses) {
      const reply = await remove(url);
      expect(reply, url).toMatchObject({ status: 409, body: { error: { code: 'in_use' } } });
      expect(reply.body.error.details).toEqual({ used_by: usedBy });
      expect(reply.body.error.message).toContain('`cascade=true`');
      expect((await remove(`${url}?cascade=false`)).status).toBe(409);
    }
  });

  it('says that installations go, and neither servers nor gitdeploys', async () => {
    const { app, server } = await addEstate();
    const gitdeploy = (await remove(`/app/${app}/gitdeploys/Web`)).body.error.message;
    expect(gitdeploy).toContain(`installations \`Web@${server}\``);
    expect(gitdeploy).toMatch(/^.+Deinitialize it .+; the servers and groups stay, .+clones/s);
    const whole = (await remove(`/server/${server}`)).body.error.message;
    expect(whole).toContain(`installations \`${app}/Web@${server}\``);
    expect(whole).toContain('of the gitdeploys on it only the installations go');
  });

  it('tells who may not read an application only how many of its things there are', async () => {
    const { app, keypair } = await addEstate();
    const keys = await addPerson(api, `keys-${app}`, { apps: { _global: 'read/write' } });
    const reply = await keys.call('DELETE', `/global/keypairs/${keypair}`);
    expect(reply).toMatchObject({ status: 409, body: { error: { details: { hidden: 2 } } } });
    expect(reply.text).not.toContain(app);
  });
});

describe('changing what others need', () => {
  const location = { path: '/opt/elsewhere', gitrepo: 'web', default_branch: 'master' };

  it('says that a gitdeploy moves once it is deinitialized', async () => {
    const { app, server, reached } = await addEstate();
    const url = `/app/${app}/gitdeploys/Web`;
    const { error } = (await api.call('PATCH', url, { body: { location } })).body;
    expect(error).toMatchObject({
      code: 'in_use',
      details: { used_by: { installations: [`Web@${server}`, `Web@${reached}`] } },
    });
    expect(error.message).toContain('Deinitialize it there first');
  });

  it('says to wait for the deployment under way, or to cancel it', async () => {
    const { app } = await addEstate();
    const id = await startDeployment(app, 'Web');
    for (const body of [{ location }, { attributes: { tier: 'web' } }]) {
      const { error } = (await api.call('PATCH', `/app/${app}/gitdeploys/Web`, { body })).body;
      expect(error).toMatchObject({ code: 'in_use', details: { used_by: { deployments: [id] } } });
      expect(error.message).toMatch(/Wait for what is under way, or cancel it/);
    }
  });
});

describe('cascade=true', () => {
  it('takes the gitdeploys of a gitrepo with it, out of their groups and off their servers', async () => {
    const { app, server, reached } = await addEstate();
    const events = await eventsOf(async () => {
      expect(await remove(`/app/${app}/gitrepos/web?cascade=true`)).toMatchObject({
        status: 200,
        body: {
          deleted: {
            application: app,
            gitrepo: 'web',
            gitdeploys: ['Web'],
            installations: [`Web@${server}`, `Web@${reached}`],
            memberships: ['All/Web'],
          },
        },
      });
    });
    expect(events).toEqual([`gitdeploy.delete ${app}/Web`, `gitrepo.delete ${app}/web`]);
    expect(await names(`/app/${app}/gitdeploys`, 'gitdeploys')).toEqual(['Conf']);
    expect((await must(api, 'GET', `/app/${app}/groups/All`)).body.gitdeploys.flat()).toEqual([
      'Conf',
    ]);
    expect((await must(api, 'GET', `/server/${server}`)).body.gitdeploys).toEqual([]);
  });

  it('takes everything with a keypair, in one go', async () => {
    const { app, keypair, server, reached } = await addEstate();
    const events = await eventsOf(async () => {
      const reply = await remove(`/global/keypairs/${keypair}?cascade=true`);
      expect(reply.status, reply.text).toBe(200);
      expect(reply.body.deleted).toEqual({
        keypair,
        servers: [server, reached],
        gitrepos: [`${app}/conf`, `${app}/web`],
        gitdeploys: [`${app}/Conf`, `${app}/Web`],
        installations: [`${app}/Web@${server}`, `${app}/Web@${reached}`],
        memberships: [`${app}/All/Conf`, `${app}/All/Web`],
      });
    });
    expect(events).toEqual([
      `gitdeploy.delete ${app}/Conf`,
      `gitdeploy.delete ${app}/Web`,
      `gitrepo.delete ${app}/conf`,
      `gitrepo.delete ${app}/web`,
      `keypair.delete -/${keypair}`,
      `server.delete -/${server}`,
      `server.delete -/${reached}`,
    ]);
    expect((await api.call('GET', `/server/${reached}`)).status).toBe(404);
    expect((await api.call('GET', `/global/keypairs/${keypair}`)).status).toBe(404);
  });

  it('takes the gitrepos of a git provider with it, and leaves the others', async () => {
    const { app, gitprovider } = await addEstate();
    expect(await remove(`/global/gitproviders/${gitprovider}?cascade=true`)).toMatchObject({
      status: 200,
      body: { deleted: { gitprovider, gitrepos: [`${app}/web`], gitdeploys: [`${app}/Web`] } },
    });
    expect(await names(`/app/${app}/gitrepos`, 'gitrepos')).toEqual(['conf']);
  });

  it('takes the servers that are reached through a server with it', async () => {
    const { app, server, reached } = await addEstate();
    expect(await remove(`/server/${server}?cascade=true`)).toMatchObject({
      status: 200,
      body: {
        deleted: {
          server,
          servers: [reached],
          installations: [`${app}/Web@${server}`, `${app}/Web@${reached}`],
        },
      },
    });
    expect((await must(api, 'GET', `/app/${app}/gitdeploys/Web`)).body.servers).toEqual([]);
  });

  it('is taken by every DELETE, and changes nothing where nothing is needed', async () => {
    const { app } = await addEstate();
    await must(api, 'PUT', `/app/${app}/builds?build_name=b`);
    await must(api, 'PUT', `/app/${app}/packagemaps?name=m`, {
      packages: { p: { patterns: ['*'] } },
    });
    for (const url of ['builds/b', 'packagemaps/m', 'groups/All']) {
      expect((await remove(`/app/${app}/${url}?cascade=true`)).status, url).toBe(200);
    }
    await api.services.database.db.job.updateMany({
      where: { status: 'queued' },
      data: { status: 'succeeded' },
    });
    expect((await remove(`/app/${app}?cascade=true`)).status).toBe(200);
    for (const url of [
      '/global/users/nobody',
      '/global/tokens/00000000-0000-7000-8000-000000000000',
    ]) {
      expect((await remove(`${url}?cascade=true`)).status, url).toBe(404);
    }
  });

  it('ends no deployment: all is as it was', async () => {
    const { app, keypair, gitprovider, server } = await addEstate();
    const id = await startDeployment(app, 'Web');
    for (const url of [
      `/app/${app}/gitrepos/web`,
      `/app/${app}/gitdeploys/Web`,
      `/global/gitproviders/${gitprovider}`,
      `/global/keypairs/${keypair}`,
    ]) {
      const reply = await remove(`${url}?cascade=true`);
      expect(reply, url).toMatchObject({
        status: 409,
        body: { error: { code: 'in_use', details: { used_by: { deployments: [id] } } } },
      });
    }
    expect(await names(`/app/${app}/gitrepos`, 'gitrepos')).toEqual(['conf', 'web']);
    expect((await api.call('GET', `/server/${server}`)).status).toBe(200);
  });

  it('ends no job that makes clones, checks a server or makes a gitrepo', async () => {
    const { app, keypair, server } = await addEstate();
    const { db } = api.services.database;
    const made = await must(api, 'POST', `/app/${app}/gitdeploys/Conf?initialize=true`, {
      servers: [server],
    });
    const initializing = made.body.job.job_id;
    for (const url of [
      `/server/${server}`,
      `/app/${app}/gitrepos/conf`,
      `/global/keypairs/${keypair}`,
    ]) {
      expect(await remove(`${url}?cascade=true`), url).toMatchObject({
        status: 409,
        body: { error: { details: { used_by: { jobs: [initializing] } } } },
      });
    }
    await db.job.update({ where: { id: initializing }, data: { status: 'succeeded' } });
    const check = (await must(api, 'POST', `/server/${server}?check=true`)).body.job.job_id;
    await db.job.update({ where: { id: check }, data: { status: 'running' } });
    expect((await remove(`/server/${server}?cascade=true`)).body.error.details.used_by).toEqual({
      jobs: [check],
    });
    // One that nobody has begun finds nothing to do.
    await db.job.update({ where: { id: check }, data: { status: 'queued' } });
    expect((await remove(`/server/${server}?cascade=true`)).status).toBe(200);
  });

  it('deletes nothing that the caller may not delete, and names none of it', async () => {
    const { app, keypair, gitprovider, server } = await addEstate();
    const keys = await addPerson(api, `all-keys-${app}`, {
      apps: { _global: 'read/write', [app]: 'read' },
    });
    for (const url of [
      `/global/keypairs/${keypair}`,
      `/global/gitproviders/${gitprovider}`,
      `/server/${server}`,
    ]) {
      const reply = await keys.call('DELETE', `${url}?cascade=true`);
      expect(reply, url).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } });
      expect(reply.body.error.message).not.toMatch(new RegExp(`${app}/|\`${app}\``));
    }
    expect(await names(`/app/${app}/gitrepos`, 'gitrepos')).toEqual(['conf', 'web']);
  });

  it.each([
    ['a gitdeploy', (app: string) => `/app/${app}/gitdeploys/Web?cascade=true`],
    ['a gitrepo', (app: string) => `/app/${app}/gitrepos/web?cascade=true`],
    ['an application', (app: string) => `/app/${app}`],
  ])(
    'takes %s off no server that the caller may not touch: all or nothing',
    async (_what, urlOf) => {
      const { app, server, reached } = await addEstate();
      const { db } = api.services.database;
      await db.job.updateMany({ where: { status: 'queued' }, data: { status: 'succeeded' } });
      const some = await addPerson(api, `some-${app}`, {
        apps: { [app]: 'read/write' },
        servers: [server],
      });
      const refused = await some.call('DELETE', urlOf(app));
      expect(refused).toMatchObject({
        status: 403,
        body: { error: { code: 'forbidden', details: { servers: [reached] } } },
      });
      expect((await must(api, 'GET', `/app/${app}/gitdeploys/Web`)).body.servers).toEqual([
        server,
        reached,
      ]);
      expect(await names(`/app/${app}/gitrepos`, 'gitrepos')).toEqual(['conf', 'web']);
      const all = await addPerson(api, `all-${app}`, {
        apps: { [app]: 'read/write' },
        servers: [server, reached],
      });
      const reply = await all.call('DELETE', urlOf(app));
      expect(reply.status, reply.text).toBe(200);
      expect(reply.body.deleted.installations).toEqual([`Web@${server}`, `Web@${reached}`]);
    },
  );

  it('takes what uses a git provider off no server that the caller may not touch', async () => {
    const { app, gitprovider, server, reached } = await addEstate();
    const hands = await addPerson(api, `hands-${app}`, {
      apps: { _global: 'read/write', [app]: 'read/write' },
      servers: [server],
    });
    const refused = await hands.call('DELETE', `/global/gitproviders/${gitprovider}?cascade=true`);
    expect(refused).toMatchObject({
      status: 403,
      body: { error: { details: { servers: [reached] } } },
    });
    // A server that goes itself takes its installations with it: that is a matter of `_global` alone.
    expect((await hands.call('DELETE', `/server/${reached}?cascade=true`)).status).toBe(200);
    const url = `/global/gitproviders/${gitprovider}?cascade=true`;
    expect((await hands.call('DELETE', url)).status).toBe(200);
  });

  it('leaves nothing behind when things are made at the same moment', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { app, keypair, server } = await addEstate();
      const [deleted, ...made] = await Promise.all([
        remove(`/global/keypairs/${keypair}?cascade=true`),
        api.call('PUT', `/app/${app}/gitrepos?name=late&keypair=${keypair}`),
        api.call('PUT', `/app/${app}/gitdeploys?name=Late`, {
          body: {
            package: 'master',
            location: { path: '/opt/late', gitrepo: 'web', default_branch: 'master' },
          },
        }),
        api.call('PUT', `/server?name=late-${server}&environment=e`, {
          body: { connection: { kind: 'ssh', host: 'h', user: 'u', keypair, jump: server } },
        }),
        api.call('PATCH', `/server/${server}`, {
          body: { connection: { kind: 'ssh', host: 'other', user: 'u', keypair } },
        }),
        api.call('POST', `/app/${app}/gitdeploys/Conf?initialize=true`, {
          body: { servers: [server] },
        }),
      ]);
      for (const { status, text } of [deleted, ...made]) {
        expect([200, 201, 202, 400, 404, 409], text).toContain(status);
      }
      const { db } = api.services.database;
      const isGone = deleted.status === 200;
      expect(await db.keypair.count({ where: { name: keypair } })).toBe(isGone ? 0 : 1);
      const servers = await db.server.count({
        where: { name: { in: [server, `late-${server}`] } },
      });
      expect(servers > 0).toBe(!isGone);
      if (isGone) {
        expect(await db.gitdeploy.count({ where: { application: { name: app } } })).toBe(0);
        expect(await db.gitrepo.count({ where: { application: { name: app } } })).toBe(0);
        const initializing = await db.job.count({
          where: { status: 'queued', kind: 'initialize_gitdeploy' },
        });
        expect(initializing).toBe(0);
      }
      await db.job.deleteMany({});
    }
  });
});
