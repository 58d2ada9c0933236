import { expect } from 'vitest';
import type { Answer, TestApi } from './test-api.ts';

/** What servers the shop has, and on which of them its gitdeploy is initialized. */
const SHOP_SERVERS = ['web01', 'web02', 'db01'] as const;

/** Calls as the admin and expects it to go well. */
export async function must(
  api: TestApi,
  method: string,
  url: string,
  body?: unknown,
): Promise<Answer> {
  const reply = await api.call(method, url, { body });
  expect(reply.status, `${method} ${url}: ${reply.text}`).toBeLessThan(300);
  return reply;
}

/** Makes a build stored, as if its archive had been uploaded. */
export async function storeBuild(api: TestApi, application: string, name: string): Promise<void> {
  await must(api, 'PUT', `/app/${application}/builds?build_name=${name}`);
  const { db } = api.services.database;
  const { id } = await db.build.findFirstOrThrow({
    where: { name, application: { name: application } },
  });
  const tree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
  await db.build.update({
    where: { id },
    data: {
      state: 'stored',
      storedAt: new Date(),
      packages: { create: { name: 'master', tree, fileCount: 1, sizeBytes: 1 } },
    },
  });
}

/**
 * Makes an application that can be deployed: servers `web01`, `web02` (production) and `db01` (staging), a stored
 * build `1.0`, a package map `map`, a gitrepo `repo`, a gitdeploy `Web` initialized on all servers, a group `All`.
 */
export async function addShop(api: TestApi, application = 'shop'): Promise<void> {
  await must(api, 'PUT', `/app?app_name=${application}`);
  for (const name of SHOP_SERVERS) {
    const environment = name === 'db01' ? 'staging' : 'production';
    const connection = { kind: 'local', root: '/nowhere' };
    const reply = await api.call('PUT', `/server?name=${name}&environment=${environment}`, {
      body: { connection },
    });
    expect([201, 409]).toContain(reply.status);
  }
  await storeBuild(api, application, '1.0');
  const packages = { web: { patterns: ['**'] } };
  await must(api, 'PUT', `/app/${application}/packagemaps?name=map`, { packages });
  await must(api, 'PUT', `/app/${application}/gitrepos?name=repo`);
  const location = { path: `/opt/${application}`, gitrepo: 'repo', default_branch: 'master' };
  await must(api, 'PUT', `/app/${application}/gitdeploys?name=Web`, {
    package: 'master',
    location,
  });
  await must(api, 'PUT', `/app/${application}/groups?name=All`, { gitdeploys: ['Web'] });
  await installEverywhere(api, application, 'Web');
}

/** Takes a gitdeploy for initialized on all servers. */
async function installEverywhere(api: TestApi, application: string, name: string): Promise<void> {
  const { db } = api.services.database;
  const gitdeploy = await db.gitdeploy.findFirstOrThrow({
    where: { name, application: { name: application } },
  });
  const servers = await db.server.findMany({ where: { name: { in: [...SHOP_SERVERS] } } });
  await db.installation.createMany({
    data: servers.map(({ id: serverId }) => ({
      gitdeployId: gitdeploy.id,
      serverId,
      deployedCommit: '0'.repeat(40),
      headCommit: '0'.repeat(40),
    })),
  });
}
