import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';
import { startWorkingApi, type WorkingApi } from './working-api.ts';

const location = (path: string) => ({ path, gitrepo: 'repo', default_branch: 'master' });

let api: WorkingApi;
let directory: TemporaryDirectory;
const folder = (server: string, path = ''): string => join(directory.path, server, path);

beforeAll(async () => {
  api = await startWorkingApi();
  directory = await makeTemporaryDirectory();
  for (const name of ['web01', 'web02']) {
    await mkdir(folder(name, 'srv/app/web'), { recursive: true });
    const connection = { kind: 'local', root: folder(name) };
    await api.must('PUT', `/server?name=${name}&environment=production`, { connection });
  }
  await api.makeApplication('shop', ['web01'], { location: location('/srv/app/web') });
  await api.must('PUT', '/app?app_name=other');
  await api.must('PUT', '/app/other/gitrepos?name=repo&wait=60');
});
afterAll(async () => {
  await api.close();
  await directory.remove();
});

const add = (application: string, name: string, path: string) =>
  api.must('PUT', `/app/${application}/gitdeploys?name=${name}`, {
    package: 'master',
    location: location(path),
  });
const initialize = (application: string, name: string, server: string) =>
  api.call('POST', `/app/${application}/gitdeploys/${name}?initialize=true&wait=60`, {
    body: { servers: [server] },
  });

describe('a path inside or around the clone of another gitdeploy', () => {
  it.each([
    ['inside', 'Inner', '/srv/app/web/inner'],
    ['around', 'Outer', '/srv/app'],
  ])('is refused, and nothing touched: %s', async (how, name, path) => {
    await add('shop', name, path);
    const before = await readdir(folder('web01'), { recursive: true });
    const refused = await initialize('shop', name, 'web01');
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'path_occupied' } } });
    const { message, details } = refused.body.error;
    expect(message).toContain(`${path} would lie ${how} the clone of gitdeploy \`Web\``);
    expect(details).toMatchObject({ path, gitdeploy: 'Web' });
    expect(details.servers.web01.status).toBe('failed');
    expect(await readdir(folder('web01'), { recursive: true })).toEqual(before);
  });

  it('is refused without a name if that is of another application', async () => {
    await add('other', 'Inner', '/srv/app/web/inner');
    const refused = await initialize('other', 'Inner', 'web01');
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'path_occupied' } } });
    expect(refused.body.error.message).toContain('the clone of a gitdeploy of another application');
    expect(refused.text).not.toMatch(/shop|Web/);
  });

  it('is taken where there is no such clone, and beside one', async () => {
    await add('other', 'Elsewhere', '/srv/app/web/elsewhere');
    expect((await initialize('other', 'Elsewhere', 'web02')).status).toBe(200);
    await add('other', 'Beside', '/srv/app/web-2');
    expect((await initialize('other', 'Beside', 'web01')).status).toBe(200);
  });

  it('stays as it is where it is initialized already', async () => {
    const { db } = api.services.database;
    await add('shop', 'Old', '/srv/app/old');
    await initialize('shop', 'Old', 'web01');
    await add('shop', 'Older', '/srv/app/older');
    await initialize('shop', 'Older', 'web01');
    // As an earlier version let it come about.
    await db.gitdeploy.updateMany({ where: { name: 'Older' }, data: { path: '/srv/app/old/er' } });
    const again = await initialize('shop', 'Old', 'web01');
    expect(again.status, again.text).toBe(200);
  });
});
