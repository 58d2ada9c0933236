import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { observeDueServers } from '../../src/jobs/observe-servers.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { startWorkingApi, type WorkingApi } from './working-api.ts';

let api: WorkingApi;
let directory: TemporaryDirectory;
const rootOf = (server: string): string => join(directory.path, server);
const takeAway = (server: string) => rename(rootOf(server), `${rootOf(server)}.off`);
const bringBack = (server: string) => rename(`${rootOf(server)}.off`, rootOf(server));
const edit = (text: string): Promise<void> =>
  writeFile(join(rootOf('web01'), 'opt/web/same'), text);
/** As the observer does it, when it is due. */
const observe = async (): Promise<void> => {
  await api.services.database.db.installation.updateMany({ data: { observedAt: null } });
  const log = pino({ level: 'silent' });
  const options = { dependencies: api.dependencies, log, intervalSeconds: 300 };
  await observeDueServers(options, new AbortController().signal);
};

// Nobody listens there, and nothing is sent: what is to be sent can be read.
const url = 'http://127.0.0.1:9/';
const heard = async (of: string): Promise<{ event: string; payload: Record<string, unknown> }[]> =>
  (await api.must('GET', `${of}/webhooks/hook/deliveries?details=true`)).deliveries.reverse();
const eventsOf = async (of: string): Promise<string[]> =>
  (await heard(of)).map(({ event }) => event);

beforeAll(async () => {
  api = await startWorkingApi();
  directory = await makeTemporaryDirectory();
  for (const name of ['web01', 'web02']) {
    await mkdir(join(rootOf(name), 'opt'), { recursive: true });
    const connection = { kind: 'local', root: rootOf(name) };
    await api.must('PUT', `/server?name=${name}&environment=production`, { connection });
  }
  await api.makeApplication('shop', ['web01', 'web02']);
  const location = { path: '/opt/blog', gitrepo: 'repo', default_branch: 'master' };
  await api.makeApplication('blog', ['web01'], { location });
  await api.must('PUT', '/app?app_name=elsewhere');
});
beforeEach(async () => {
  for (const of of ['/app/shop', '/app/blog', '/app/elsewhere', '/global']) {
    await api.must('PUT', `${of}/webhooks?name=hook`, { url, events: ['server.*'] });
  }
});
afterEach(async () => {
  await api.services.database.db.$executeRaw`truncate webhooks cascade`;
});
afterAll(async () => {
  await api.close();
  await directory.remove();
});

describe('a server that goes away and comes back', () => {
  it('is told once each, however often and by whom it is looked at, to whom it concerns', async () => {
    await takeAway('web01');
    for (let look = 0; look < 2; look += 1) await observe();
    expect((await api.check('web01')).status).toBe(503);
    await bringBack('web01');
    await api.check('web01');
    await observe();
    for (const of of ['/app/shop', '/app/blog', '/global']) {
      expect([of, await eventsOf(of)]).toEqual([of, ['server.unreachable', 'server.reachable']]);
    }
    expect(await eventsOf('/app/elsewhere')).toEqual([]);
  });

  it('is told with its name and why, and with what each application has there', async () => {
    await takeAway('web01');
    await observe();
    await bringBack('web01');
    await observe();
    const [gone] = await heard('/app/shop');
    const web = { application: 'shop', gitdeploy: 'Web', path: '/opt/web' };
    const blog = { application: 'blog', gitdeploy: 'Web', path: '/opt/blog' };
    const change = { drift: 'unreachable', drift_before: 'none' };
    expect(gone?.payload).toMatchObject({
      event: 'server.unreachable',
      application: 'shop',
      server: { name: 'web01', environment: 'production' },
      data: {
        gitdeploys: [{ ...web, ...change }],
        error: { code: 'server_unreachable', message: expect.stringContaining('web01') },
      },
    });
    const [all, back] = await heard('/global');
    expect(all?.payload).toMatchObject({
      id: gone?.payload['id'],
      application: null,
      data: {
        gitdeploys: [
          { ...blog, ...change },
          { ...web, ...change },
        ],
      },
    });
    expect(back?.payload['data']).toEqual({
      gitdeploys: [
        { ...blog, drift: 'none', drift_before: 'unreachable' },
        { ...web, drift: 'none', drift_before: 'unreachable' },
      ],
    });
  });

  it('is told when a deployment finds it so', async () => {
    expect((await api.deploy('shop', { name: 'b1' }, ['web02'])).status).toBe(200);
    await takeAway('web02');
    await observe();
    await bringBack('web02');
    expect((await api.deploy('shop', { name: 'b2' }, ['web02'])).status).toBe(200);
    await observe();
    expect(await eventsOf('/app/shop')).toEqual(['server.unreachable', 'server.reachable']);
  });
});

describe('a server that is not as it was left', () => {
  it('is told when that is found, and again only when it is so in another way', async () => {
    await api.deploy('shop', { name: 'b1' }, ['web01']);
    await edit('by hand\n');
    for (let look = 0; look < 2; look += 1) await observe();
    await api.check('web01');
    expect(await eventsOf('/app/shop')).toEqual(['server.drifted']);
    const [drifted] = await heard('/app/shop');
    expect(drifted?.payload['data']).toEqual({
      gitdeploys: [
        {
          application: 'shop',
          gitdeploy: 'Web',
          path: '/opt/web',
          drift: 'modified',
          drift_before: 'none',
        },
      ],
    });
    await rename(join(rootOf('web01'), 'opt/web'), join(rootOf('web01'), 'opt/aside'));
    await observe();
    await rename(join(rootOf('web01'), 'opt/aside'), join(rootOf('web01'), 'opt/web'));
    await edit('same\n');
    await observe();
    expect(await eventsOf('/app/shop')).toEqual(['server.drifted', 'server.drifted']);
    expect(await eventsOf('/app/blog')).toEqual([]);
  });

  it('is not told of what a deployment has found and merged, which tells that itself', async () => {
    await edit('by hand\n');
    expect((await api.deploy('shop', { name: 'b2' }, ['web01'])).status).toBe(200);
    await observe();
    expect(await eventsOf('/app/shop')).toEqual([]);
  });
});
