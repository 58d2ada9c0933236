import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureAdmin } from '../../src/services/authentication.ts';
import { addPerson, bearer, logIn, PASSWORD } from './people.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const NOTHING = { apps: {}, actions: {}, servers: [] };

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const put = (username: string, body?: unknown) =>
  api.call('PUT', `/global/users?username=${encodeURIComponent(username)}`, { body });
const patch = (username: string, body: unknown, token = TOKEN) =>
  api.call('PATCH', `/global/users/${username}`, { body, headers: bearer(token) });

describe('users', () => {
  it('are created, shown, listed and deleted, never with their password', async () => {
    const permissions = {
      apps: { '*': 'read', 'shop*': 'read/write', secret: '' },
      actions: { '*': { '*': 'execute' } },
      servers: ['web*'],
    };
    const created = await put('bob', { password: PASSWORD, permissions });
    expect(created).toMatchObject({ status: 201, headers: { location: '/global/users/bob' } });
    expect(created.body).toEqual({ username: 'bob', permissions, created_datetime: TIME });
    expect((await api.call('GET', '/global/users/bob')).body).toEqual(created.body);
    expect((await api.call('GET', '/global/users')).body).toEqual({ users: ['admin', 'bob'] });
    const details = await api.call('GET', '/global/users?details=true&limit=1&after=admin');
    expect(details.body).toEqual({ users: [created.body] });
    expect((await api.call('GET', '/global/users?limit=1')).body).toEqual({
      users: ['admin'],
      next: 'admin',
    });
    for (const { text } of [created, details]) expect(text).not.toMatch(/scrypt|horse/);
    expect(await api.call('DELETE', '/global/users/bob')).toMatchObject({
      status: 200,
      body: { deleted: { user: 'bob' } },
    });
    expect((await api.call('GET', '/global/users/bob')).status).toBe(404);
  });

  it('exist once, and may do nothing unless told otherwise', async () => {
    expect((await put('carl', { password: PASSWORD })).body.permissions).toEqual(NOTHING);
    expect(await put('carl', { password: 'another password' })).toMatchObject({
      status: 409,
      body: { error: { code: 'already_exists' } },
    });
    await logIn(api, 'carl');
    expect((await api.call('GET', '/global/users/karl')).body.error.message).toContain(
      'did you mean `carl`?',
    );
  });

  it.each([
    ['no body', 'x', undefined, 'The body'],
    ['no password', 'x', {}, '`password` is missing'],
    ['a short password', 'x', { password: 'sevenzz' }, 'too few characters; give one of 8'],
    ['a very long password', 'x', { password: 'x'.repeat(1025) }, 'too many characters'],
    ['a password that is no string', 'x', { password: 12_345_678 }, '`password` must be a string'],
    ['a bad name', 'a b', { password: PASSWORD }, 'cannot be the name of a user'],
    ['the name of what all share', '_global', { password: PASSWORD }, 'cannot be the name'],
    ['an unknown key', 'x', { password: PASSWORD, permission: {} }, 'did you mean `permissions`?'],
    [
      'an unknown kind of permission',
      'x',
      { password: PASSWORD, permissions: { app: {} } },
      'did you mean `apps`?',
    ],
    [
      'an unknown access',
      'x',
      { password: PASSWORD, permissions: { apps: { shop: 'admin' } } },
      '`permissions.apps.shop` must be one of `read`',
    ],
    [
      'servers that are no list',
      'x',
      { password: PASSWORD, permissions: { servers: 'web*' } },
      '`permissions.servers` must be a list',
    ],
    [
      'a glob with a slash',
      'x',
      { password: PASSWORD, permissions: { servers: ['web/1'] } },
      'without `/`',
    ],
  ])('are refused with %s', async (_what, username, body, message) => {
    const reply = await put(username, body);
    expect([reply.status, reply.body.error.message]).toEqual([
      400,
      expect.stringContaining(message),
    ]);
    expect(reply.text).not.toContain(PASSWORD);
  });

  it('are not created by a password in the URL, and the log does not show one', async () => {
    const secret = 'a-password-in-the-url';
    const reply = await api.call('PUT', `/global/users?username=dora&password=${secret}`);
    expect(reply.status).toBe(400);
    expect(reply.text).not.toContain(secret);
    expect(api.logLines.join('\n')).not.toContain(secret);
  });
});

describe('a change of a user', () => {
  it('replaces the permissions as a whole, and takes effect with the next request', async () => {
    const erna = await addPerson(api, 'erna', { apps: { '*': 'read' }, servers: ['*'] });
    await api.call('PUT', '/app?app_name=shop');
    expect((await erna.call('GET', '/app/shop')).status).toBe(200);
    const reply = await patch('erna', { permissions: { apps: { bank: 'read' } } });
    expect(reply.body.permissions).toEqual({ ...NOTHING, apps: { bank: 'read' } });
    expect((await erna.call('GET', '/app/shop')).status).toBe(403);
  });

  it('of the own password ends the other tokens, but not the one it is made with', async () => {
    const fred = await addPerson(api, 'fred');
    const elsewhere = await logIn(api, 'fred');
    const reply = await patch('fred', { password: 'a new password' }, fred.token);
    expect(reply.status).toBe(200);
    expect((await fred.call('GET', '/global/users/fred')).status).toBe(200);
    expect((await elsewhere.call('GET', '/global/users/fred')).status).toBe(401);
    const old = { username: 'fred', password: PASSWORD };
    expect((await api.call('POST', '/global/tokens', { body: old })).status).toBe(401);
    await logIn(api, 'fred', 'a new password');
    await patch('fred', { password: PASSWORD });
    expect((await fred.call('GET', '/global/users/fred')).status).toBe(401);
  });

  it('of the password of `admin` leaves the token of the setting', async () => {
    const gina = await addPerson(api, 'gina', { apps: { _global: 'read/write' } });
    expect((await patch('admin', { password: 'the admin password' }, gina.token)).status).toBe(200);
    expect((await api.call('GET', '/app')).status).toBe(200);
    await logIn(api, 'admin', 'the admin password');
    await api.call('DELETE', '/global/users/gina');
  });

  it('must change something, and the name it cannot change', async () => {
    expect(await patch('erna', {})).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('`password` or `permissions`') } },
    });
    expect((await patch('erna', { username: 'erma' })).status).toBe(400);
    expect((await patch('nobody', { password: PASSWORD })).status).toBe(404);
    expect((await patch('erna', { password: 'short' })).status).toBe(400);
  });
});

describe('whoever may not read `_global`', () => {
  it('sees and changes themselves alone, and never their permissions', async () => {
    const hugo = await addPerson(api, 'hugo', { apps: { '*': 'read/write' } });
    expect((await hugo.call('GET', '/global/users/hugo')).status).toBe(200);
    expect((await hugo.call('GET', '/global/users/hugo/permissions')).status).toBe(200);
    const denied: [string, string, unknown?][] = [
      ['GET', '/global/users'],
      ['GET', '/global/users/erna'],
      ['GET', '/global/users/nobody'],
      ['GET', '/global/users/HUGO'],
      ['GET', '/global/users/erna/permissions'],
      ['PATCH', '/global/users/erna', { password: PASSWORD }],
      ['PATCH', '/global/users/hugo', { permissions: { apps: { _global: 'write' } } }],
      ['PATCH', '/global/users/hugo', { permissions: {}, password: 'a new password' }],
      ['DELETE', '/global/users/hugo'],
      ['PUT', '/global/users?username=ilse', { password: PASSWORD }],
    ];
    for (const [method, url, body] of denied) {
      const reply = await hugo.call(method, url, { body });
      expect([method, url, reply.status]).toEqual([method, url, 403]);
    }
    await logIn(api, 'hugo');
    const own = await hugo.call('PATCH', '/global/users/hugo', { body: { password: 'a new one' } });
    expect(own.status).toBe(200);
  });

  it('but reads all users with `_global` read, and changes none', async () => {
    const reader = await addPerson(api, 'jana', { apps: { _global: 'read' } });
    expect((await reader.call('GET', '/global/users/hugo')).status).toBe(200);
    const body = { permissions: { apps: { _global: 'write' } } };
    expect((await reader.call('PATCH', '/global/users/jana', { body })).status).toBe(403);
    const other = { body: { password: 'a new password' } };
    expect((await reader.call('PATCH', '/global/users/hugo', other)).status).toBe(403);
  });
});

describe('the permissions of a user', () => {
  it('are shown as what they come to now', async () => {
    for (const name of ['bank', 'shop-eu', 'shop-us', 'constructor']) {
      await api.call('PUT', `/app?app_name=${name}`);
    }
    for (const name of ['web01', 'web02', 'db01']) {
      const connection = { kind: 'local', root: '/nowhere' };
      await api.call('PUT', `/server?name=${name}&environment=x`, { body: { connection } });
    }
    await addPerson(api, 'kurt', {
      apps: { '*': 'read', 'shop-*': 'read/write', bank: '', constructor: 'write' },
      actions: { 'shop-*': { 'drain-*': 'execute' }, constructor: { '*': 'execute' } },
      servers: ['web*', 'cache01'],
    });
    expect((await api.call('GET', '/global/users/kurt/permissions')).body).toEqual({
      username: 'kurt',
      global: '',
      applications: {
        read: ['shop'],
        write: ['constructor'],
        'read/write': ['shop-eu', 'shop-us'],
      },
      actions: { 'shop-eu': ['drain-*'], 'shop-us': ['drain-*'], constructor: ['*'] },
      servers: ['web01', 'web02'],
    });
    expect((await api.call('GET', '/global/users/admin/permissions')).body).toMatchObject({
      global: 'read/write',
      servers: ['db01', 'web01', 'web02'],
    });
    expect((await api.call('GET', '/global/users/nobody/permissions')).status).toBe(404);
  });
});

describe('the last user who may write `_global`', () => {
  it('is neither deleted nor stripped, even if two try to strip each other', async () => {
    const conflict = { status: 409, body: { error: { code: 'conflict' } } };
    expect(await api.call('DELETE', '/global/users/admin')).toMatchObject(conflict);
    expect(await patch('admin', { permissions: {} })).toMatchObject(conflict);
    expect(await patch('admin', { permissions: { apps: { _global: 'read' } } })).toMatchObject(
      conflict,
    );
    const lena = await addPerson(api, 'lena', { apps: { _global: 'write' } });
    const [one, other] = await Promise.all([
      patch('admin', { permissions: {} }, lena.token),
      patch('lena', { permissions: {} }),
    ]);
    expect([one.status, other.status].sort()).toEqual([200, expect.toSatisfy((s) => s !== 200)]);
    const everything = { apps: { '*': 'read/write', _global: 'read/write' }, servers: ['*'] };
    if (one.status === 200) await patch('admin', { permissions: everything }, lena.token);
    expect((await api.call('GET', '/global/users')).status).toBe(200);
  });

  it('is found again at the next start by its token, but a deleted one is not', async () => {
    const own = await startTestApi();
    const restart = (adminToken: string | null) =>
      ensureAdmin({ ...own.services, config: { ...own.services.config, adminToken } });
    const file = join(own.dataDirectory, 'admin-token');
    const status = async (token: string) =>
      (await own.call('GET', '/global/users', { headers: bearer(token) })).status;
    try {
      await restart(null);
      const first = (await readFile(file, 'utf8')).trim();
      expect(await status(first)).toBe(200);

      const admin = { authorization: `Bearer ${first}` };
      const body = { password: PASSWORD, permissions: { apps: { _global: 'read/write' } } };
      await own.call('PUT', '/global/users?username=mona', { body, headers: admin });
      const mona = await logIn(own, 'mona');
      expect((await mona.call('DELETE', '/global/users/admin')).status).toBe(200);
      await expect(access(file)).rejects.toThrow('ENOENT');
      await restart(null);
      expect(await status(first)).toBe(401);
      expect((await mona.call('GET', '/global/users')).body).toEqual({ users: ['mona'] });

      await restart(TOKEN);
      expect(await status(TOKEN)).toBe(200);
    } finally {
      await own.close();
    }
  });
});
