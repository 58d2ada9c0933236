import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/store/database.ts';
import {
  type DeployedState,
  type InstallationRow,
  recordDeployed,
} from '../../src/store/installations.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

const SERVERS = ['web01', 'web02', 'web03'] as const;
const APPLICATIONS = ['blog', 'shop'] as const;

let testDatabase: TestDatabase;
let database: Database;
/** By application. */
let builds: Map<string, string>;
let deployments: Map<string, string>;
/** By `server/application`; one gitdeploy of each application is on each server. */
let ids: Map<string, string>;

const idOf = (known: Map<string, string>, name: string): string => {
  const id = known.get(name);
  if (id === undefined) throw new Error(`there is no ${name}`);
  return id;
};
const stateOf = (place: string, isModified = false): DeployedState => {
  const application = place.split('/')[1] ?? '';
  return {
    installationId: idOf(ids, place),
    buildId: idOf(builds, application),
    commit: `commit of ${place}`,
    head: `head of ${place}`,
    deploymentId: idOf(deployments, application),
    isModified,
  };
};
const record = (...states: DeployedState[]): Promise<void> =>
  database.transaction((tx) => recordDeployed(tx, states));
const takeAway = (...servers: string[]) =>
  database.db.installation.updateMany({
    where: { server: { name: { in: servers } } },
    data: { drift: 'unreachable' },
  });
const rowOf = (place: string): Promise<InstallationRow> =>
  database.db.installation.findUniqueOrThrow({ where: { id: idOf(ids, place) } });

/** Who hears what of which server, and of which applications there it is. */
const heard = async (): Promise<string[]> => {
  const rows = await database.db.$queryRaw<{ line: string }[]>`
    select concat_ws(' ', w.name, d.event, d.payload->'server'->>'name', string_agg(one->>'application', '+')) as line
      from webhook_deliveries d
      join webhooks w on w.id = d.webhook_id, json_array_elements(d.payload->'data'->'gitdeploys') one
     group by d.id, w.name`;
  return rows.map(({ line }) => line).sort();
};

async function makeApplication(name: string, serverIds: readonly string[]): Promise<void> {
  const { db } = database;
  const { id: applicationId } = await db.application.create({ data: { name } });
  const gitrepo = await db.gitrepo.create({ data: { applicationId, name: 'repo' } });
  const location = { gitrepoId: gitrepo.id, branch: 'master', path: `/opt/${name}` };
  const gitdeploy = await db.gitdeploy.create({
    data: {
      applicationId,
      name: 'Web',
      packageName: 'master',
      options: {},
      actions: {},
      ...location,
    },
  });
  const build = await db.build.create({ data: { applicationId, name: 'b1' } });
  const deployment = await db.deployment.create({
    data: { applicationId, buildName: 'b1', username: 'admin', target: {}, options: {} },
  });
  builds.set(name, build.id);
  deployments.set(name, deployment.id);
  for (const [n, serverId] of serverIds.entries()) {
    const row = await db.installation.create({
      data: { gitdeployId: gitdeploy.id, serverId, deployedCommit: 'old', headCommit: 'old' },
    });
    ids.set(`${SERVERS[n]}/${name}`, row.id);
  }
  await makeWebhook(name, applicationId);
}

async function makeWebhook(name: string, applicationId: string | null): Promise<void> {
  const urlSealed = Buffer.from('sealed');
  await database.db.webhook.create({
    data: { name, applicationId, urlSealed, events: ['server.*'] },
  });
}

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ databaseUrl: testDatabase.databaseUrl });
  [builds, deployments, ids] = [new Map(), new Map(), new Map()];
  const serverIds: string[] = [];
  for (const name of SERVERS) {
    const data = { name, environment: 'production', connection: {} };
    serverIds.push((await database.db.server.create({ data })).id);
  }
  for (const name of APPLICATIONS) await makeApplication(name, serverIds);
  await makeWebhook('all', null);
});
beforeEach(async () => {
  await database.db.$executeRaw`truncate webhook_deliveries`;
  await database.db.installation.updateMany({
    data: {
      drift: 'none',
      deployedBuildId: null,
      deploymentId: null,
      deployedAt: null,
      observedAt: null,
      missedBuildId: null,
      missedDeploymentId: null,
      missedAt: null,
    },
  });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

describe('what switches have left on several servers at once', () => {
  it('is recorded of each of them, and of no other', async () => {
    await database.db.installation.updateMany({
      data: {
        missedBuildId: idOf(builds, 'shop'),
        missedDeploymentId: idOf(deployments, 'shop'),
        missedAt: new Date(),
      },
    });
    const others = await Promise.all(['web02/blog', 'web03/shop'].map(rowOf));
    await record(stateOf('web02/shop', true), stateOf('web01/blog'), {
      ...stateOf('web01/shop'),
      buildId: null,
    });
    for (const place of ['web01/blog', 'web01/shop', 'web02/shop']) {
      const application = place.split('/')[1] ?? '';
      expect(await rowOf(place)).toMatchObject({
        deployedBuildId: place === 'web01/shop' ? null : idOf(builds, application),
        deploymentId: idOf(deployments, application),
        deployedCommit: `commit of ${place}`,
        headCommit: `head of ${place}`,
        drift: place === 'web02/shop' ? 'modified' : 'none',
        deployedAt: expect.any(Date),
        observedAt: expect.any(Date),
        missedBuildId: null,
        missedDeploymentId: null,
        missedAt: null,
      });
    }
    expect(await Promise.all(['web02/blog', 'web03/shop'].map(rowOf))).toEqual(others);
  });

  it('is told once for each server that has come back by it, and not for one that was there', async () => {
    await takeAway('web01', 'web02');
    const servers = ['web02', 'web01', 'web03'];
    // Not server by server: what is told of one must not depend on the order.
    await record(
      ...servers.map((server) => stateOf(`${server}/shop`)),
      ...servers.map((server) => stateOf(`${server}/blog`, true)),
    );
    expect(await heard()).toEqual([
      'all server.reachable web01 blog+shop',
      'all server.reachable web02 blog+shop',
      'blog server.reachable web01 blog',
      'blog server.reachable web02 blog',
      'shop server.reachable web01 shop',
      'shop server.reachable web02 shop',
    ]);
  });

  it('is told to an application by what it has itself there, and to all when all of a server is back', async () => {
    await takeAway('web01', 'web02');
    await record(stateOf('web01/shop'), stateOf('web02/blog'));
    expect(await heard()).toEqual([
      'blog server.reachable web02 blog',
      'shop server.reachable web01 shop',
    ]);
    await record(stateOf('web01/blog'), stateOf('web02/shop'));
    expect(await heard()).toEqual([
      'all server.reachable web01 blog',
      'all server.reachable web02 shop',
      'blog server.reachable web01 blog',
      'blog server.reachable web02 blog',
      'shop server.reachable web01 shop',
      'shop server.reachable web02 shop',
    ]);
  });

  it('is not told where no server was away, whatever was merged on them', async () => {
    await record(stateOf('web01/shop', true), stateOf('web02/shop', true), stateOf('web02/blog'));
    expect(await heard()).toEqual([]);
  });
});
