import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import Fastify from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addAuthentication } from '../../src/api/plugins/authentication.ts';
import { Permissions } from '../../src/domain/permissions.ts';
import { authenticate, ensureAdmin } from '../../src/services/authentication.ts';
import type { ServiceContext } from '../../src/services/context.ts';
import { insertToken, insertUser } from '../../src/store/users.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('the token', () => {
  it.each([
    ['as a bearer', '/app', { authorization: `Bearer ${TOKEN}` }],
    ['as a bearer in any letter case', '/app', { authorization: `bearer ${TOKEN}` }],
    ['in Auth-Token', '/app', { 'auth-token': TOKEN }],
    ['in the query', `/app?auth_token=${TOKEN}`, {}],
    ['in the query beside other parameters', `/app?details=true&auth_token=${TOKEN}`, {}],
  ])('is taken %s', async (_how, url, headers) => {
    const reply = await api.app.inject({ url, headers });
    expect(reply.statusCode).toBe(200);
  });

  it.each([
    ['is missing', '/app', {}, 'needs a token'],
    ['is unknown', '/app', { authorization: 'Bearer nobody' }, 'not known'],
    ['is of another kind', '/app', { authorization: 'Basic YTpi' }, 'not of the kind Bearer'],
    ['is empty', '/app', { 'auth-token': '' }, 'empty'],
    ['comes twice', `/app?auth_token=${TOKEN}`, { 'auth-token': TOKEN }, 'More than one'],
    ['comes twice in the query', `/app?auth_token=${TOKEN}&auth_token=x`, {}, 'More than one'],
  ])('is refused with 401 and a reason if it %s', async (_what, url, headers, reason) => {
    const reply = await api.app.inject({ url, headers });
    expect(reply.statusCode).toBe(401);
    expect(reply.headers['www-authenticate']).toContain('Bearer');
    expect(reply.json()).toMatchObject({ status: 'error', error: { code: 'unauthenticated' } });
    expect(reply.json().error.message).toContain(reason);
  });

  it('is needed by every route but the open ones', async () => {
    const { paths = {} } = api.app.swagger();
    const aliases = [
      '/app/x/gitrepo',
      '/app/x/gitrepo/x',
      '/app/x/gitdeploy',
      '/app/x/gitdeploy/x',
    ];
    const open = new Set<string>();
    for (const path of [...Object.keys(paths), ...aliases, '/openapi.json', '/docs']) {
      for (const method of ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'] as const) {
        const reply = await api.app.inject({ method, url: path.replaceAll(/\{\w+\}/g, 'x') });
        if (![401, 405].includes(reply.statusCode)) open.add(path);
      }
    }
    expect([...open].sort()).toEqual([
      '/',
      '/docs',
      '/global/tokens',
      '/healthz',
      '/openapi.json',
      '/readyz',
    ]);
  });

  it('stands in no log line, wherever it came', async () => {
    const secret = 'a-token-that-must-not-be-logged';
    for (const url of [
      `/app?auth_token=${secret}`,
      `/app?%61uth_token=${secret}`,
      `/nowhere?auth_token=${secret}&x=1`,
      `/app/%ff?auth_token=${secret}`,
      `/?auth_token=${secret}`,
    ]) {
      await api.app.inject({ url, headers: { authorization: `Bearer ${secret}` } });
      await api.app.inject({ method: 'PUT', url, headers: { 'auth-token': secret } });
    }
    const lines = api.logLines.join('\n');
    expect(lines).toContain('/nowhere?auth_token=[redacted]&x=1');
    expect(lines).not.toContain(secret);
  });
});

describe('permissions', () => {
  const as = async (username: string, apps: Record<string, string>): Promise<string> => {
    const token = `token-of-${username}`;
    const { db } = api.services.database;
    const permissions = Permissions.parse({ apps });
    const user = await insertUser(db, { username, passwordHash: null, permissions });
    const hash = new Uint8Array(createHash('sha256').update(token).digest());
    await insertToken(db, { userId: user.id, name: 'test', hash });
    return token;
  };

  it('decide what is listed, read and written', async () => {
    const authorization = `Bearer ${await as('reader', { 'shop*': 'read' })}`;
    for (const name of ['shop', 'bank']) await api.call('PUT', `/app?app_name=${name}`);
    const call = async (method: string, url: string) =>
      (await api.call(method, url, { headers: { authorization } })).status;
    const list = await api.call('GET', '/app', { headers: { authorization } });
    expect(list.body).toEqual({ applications: ['shop'] });
    expect(await call('GET', '/app/shop')).toBe(200);
    expect(await call('GET', '/app/bank')).toBe(403);
    expect(await call('GET', '/app/unknown')).toBe(403);
    expect(await call('DELETE', '/app/shop')).toBe(403);
    expect(await call('PUT', '/app?app_name=shop2')).toBe(403);
    expect(await call('GET', '/global/keypairs')).toBe(403);
    // Servers are listed for everybody, but only those that they may deploy to: none here.
    const servers = await api.call('GET', '/server', { headers: { authorization } });
    expect(servers.body).toEqual({ servers: [] });
    expect(await call('GET', '/server/web01')).toBe(403);
  });

  it('hide the jobs of others in applications that are not theirs to read', async () => {
    const job = (await api.call('PUT', '/app/shop/gitrepos?name=r')).body.job.job_id;
    const authorization = `Bearer ${await as('stranger', { '*': 'read/write', shop: '' })}`;
    const hidden = await api.call('GET', `/job/${job}`, { headers: { authorization } });
    expect(hidden.status).toBe(404);
    const list = await api.call('GET', '/job', { headers: { authorization } });
    expect(list.body).toEqual({ jobs: [] });
  });

  it('must be declared by every route, or Muster does not start', () => {
    const app = Fastify().withTypeProvider<ZodTypeProvider>();
    addAuthentication(app, api.services);
    expect(() => app.get('/forgotten', () => 'open to all')).toThrow(
      'GET /forgotten does not declare its config.permission',
    );
  });
});

describe('the first admin token', () => {
  const without = (token: string | null): ServiceContext => ({
    ...api.services,
    config: { ...api.services.config, adminToken: token },
  });
  const works = (token: string): Promise<boolean> =>
    authenticate(api.services, token).then(
      ({ username }) => username === 'admin',
      () => false,
    );

  it('is made once, however many processes start at the same time, and only its owner can read it', async () => {
    await Promise.all(Array.from({ length: 5 }, () => ensureAdmin(without(null))));
    const file = join(api.dataDirectory, 'admin-token');
    const token = (await readFile(file, 'utf8')).trim();
    expect(token).toMatch(/^[0-9a-f]{64}$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await works(token)).toBe(true);
    expect(await readdir(api.dataDirectory)).not.toContain(`admin-token.${process.pid}`);
    expect(api.logLines.join('\n')).not.toContain(token);

    await ensureAdmin(without(null));
    expect((await readFile(file, 'utf8')).trim()).toBe(token);
    await rm(file);
    await ensureAdmin(without(null));
    expect(await readdir(api.dataDirectory)).not.toContain('admin-token');
  });

  it('is shown after a crash before its file was there, and its file goes after one before that was removed', async () => {
    const file = join(api.dataDirectory, 'admin-token');
    const { db } = api.services.database;
    await db.token.deleteMany({});
    await ensureAdmin(without(null));
    const token = (await readFile(file, 'utf8')).trim();
    await rename(file, `${file}.new`);
    await ensureAdmin(without(null));
    expect((await readFile(file, 'utf8')).trim()).toBe(token);
    expect(await works(token)).toBe(true);

    await db.token.deleteMany({});
    await ensureAdmin(without(null));
    const next = (await readFile(file, 'utf8')).trim();
    expect(next).not.toBe(token);
    expect([await works(token), await works(next)]).toEqual([false, true]);

    await db.token.deleteMany({});
    await ensureAdmin(without(TOKEN));
    expect(await readdir(api.dataDirectory)).not.toContain('admin-token');
  });

  it('follows the setting: a changed one takes effect, a removed one ends', async () => {
    await ensureAdmin(without('first-token-of-the-setting'));
    await ensureAdmin(without('second-token-of-the-setting'));
    expect(await works('first-token-of-the-setting')).toBe(false);
    expect(await works('second-token-of-the-setting')).toBe(true);
    await ensureAdmin(without(null));
    expect(await works('second-token-of-the-setting')).toBe(false);
    await ensureAdmin(without(TOKEN));
    expect(await works(TOKEN)).toBe(true);
  });
});
