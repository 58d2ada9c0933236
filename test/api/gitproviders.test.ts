import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSecret } from '../../src/domain/sealed-secret.ts';
import { startTestApi, type TestApi } from './test-api.ts';

const SECRET = 'glpat-a-secret-of-the-tests';

describe('git providers over HTTP', () => {
  let api: TestApi;
  const put = (name: string, body: unknown) =>
    api.call('PUT', `/global/gitproviders?name=${name}`, { body });
  const putGitrepo = (query: string) => api.call('PUT', `/app/shop/gitrepos?${query}`);

  beforeAll(async () => {
    api = await startTestApi();
    await api.call('PUT', '/app?app_name=shop');
    await api.call('PUT', '/global/keypairs?name=kp1&generate=true');
    await put('gp1', { type: 'gitea', url: 'https://git.example.com', auth: { token: SECRET } });
  });
  afterAll(() => api.close());

  it.each<[string, unknown, string]>([
    ['hub', { type: 'github', auth: { token: SECRET } }, 'https://api.github.com'],
    [
      'lab',
      { type: 'gitlab', url: 'https://x.org/', auth: { token: SECRET, group: 'a/b' } },
      'https://x.org/api/v4',
    ],
    [
      'tea',
      { type: 'gitea', url: 'http://x.org', auth: { username: 'u', password: SECRET } },
      'http://x.org/api/v1',
    ],
    [
      'bucket',
      { type: 'bitbucket', auth: { username: 'u', app_password: SECRET, workspace: 'w' } },
      'https://api.bitbucket.org/2.0',
    ],
  ])('are created: %s', async (name, body, url) => {
    const made = await put(name, body);
    expect(made).toMatchObject({ status: 201, body: { name, url } });
    expect(made.headers['location']).toBe(`/global/gitproviders/${name}`);
    const shown = await api.call('GET', `/global/gitproviders/${name}`);
    expect(shown.body).toEqual(made.body);
    expect(Object.keys(shown.body).sort()).toEqual(['created_datetime', 'name', 'type', 'url']);
  });

  it('are listed, by name or whole', async () => {
    const names = await api.call('GET', '/global/gitproviders');
    expect(names.body.gitproviders).toEqual(['bucket', 'gp1', 'hub', 'lab', 'tea']);
    const whole = await api.call('GET', '/global/gitproviders?details=true&limit=2');
    expect(whole.body).toMatchObject({
      gitproviders: [{ name: 'bucket', type: 'bitbucket' }, { name: 'gp1' }],
      next: 'gp1',
    });
  });

  it('are not created twice', async () => {
    const again = await put('gp1', { type: 'github', auth: { token: 'x' } });
    expect(again).toMatchObject({ status: 409, body: { error: { code: 'already_exists' } } });
    const shown = await api.call('GET', '/global/gitproviders/gp1');
    expect(shown.body.type).toBe('gitea');
  });

  it.each<[string, unknown, RegExp]>([
    ['no body', undefined, /body/],
    ['no type', { auth: { token: 'x' } }, /type/],
    ['an unknown type', { type: 'svn', auth: { token: 'x' } }, /`github`.*`bitbucket`/],
    ['no auth', { type: 'github' }, /`auth` is missing/],
    ['no token', { type: 'github', auth: {} }, /`auth.token` is missing/],
    ['an empty token', { type: 'github', auth: { token: '' } }, /auth.token/],
    ['a token that ends a header', { type: 'github', auth: { token: 'a\r\nb' } }, /auth.token/],
    ['a number', { type: 'gitlab', auth: { token: 7 } }, /auth.token/],
    ['half a login', { type: 'gitea', auth: { username: 'u' } }, /`username` and `password`/],
    [
      'two ways at once',
      { type: 'gitea', auth: { token: 'x', username: 'u', password: 'p' } },
      /either `token`/,
    ],
    ['two owners', { type: 'gitlab', auth: { token: 'x', owner: 'a', group: 'b' } }, /same as/],
    ['an owner that climbs', { type: 'gitlab', auth: { token: 'x', group: '../..' } }, /group/],
    ['a bad url', { type: 'gitea', url: 'git.x.org', auth: { token: 'x' } }, /url/],
    ['a url with a password', { type: 'gitea', url: 'https://u:p@x', auth: { token: 'x' } }, /url/],
  ])('are refused with %s', async (_what, body, message) => {
    const refused = await put('bad', body);
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
    expect(refused.body.error.message).toMatch(message);
  });

  it('are refused with keys that their kind does not take, naming the nearest', async () => {
    const refused = await put('bad', { type: 'github', auth: { tokn: SECRET } });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'unknown_parameter' } } });
    expect(refused.body.error.message).toContain('did you mean `token`?');
    const password = await put('bad', { type: 'gitlab', auth: { token: 'x', password: SECRET } });
    expect(password).toMatchObject({ status: 400, body: { error: { code: 'unknown_parameter' } } });
  });

  it('are missed with the nearest name', async () => {
    const missing = await api.call('GET', '/global/gitproviders/gp2');
    expect(missing).toMatchObject({
      status: 404,
      body: { error: { details: { nearest: 'gp1' } } },
    });
    expect((await api.call('DELETE', '/global/gitproviders/gp2')).status).toBe(404);
  });

  describe('that change', () => {
    const NEW_SECRET = 'glpat-another-secret-of-the-tests';
    const patch = (body: unknown, name = 'changing') =>
      api.call('PATCH', `/global/gitproviders/${name}`, { body });
    const sealedAuth = async () =>
      (
        await api.services.database.db.gitprovider.findUniqueOrThrow({
          where: { name: 'changing' },
        })
      ).authSealed;
    const openAuth = async () => openSecret(await sealedAuth(), api.services.config.secretKey);

    beforeAll(async () => {
      await put('changing', {
        type: 'gitlab',
        url: 'https://old.example.com',
        auth: { token: SECRET, group: 'g' },
      });
    });

    it('take another token in place, and show none', async () => {
      const changed = await patch({ auth: { token: NEW_SECRET, group: 'h' } });
      expect(changed).toMatchObject({
        status: 200,
        body: { name: 'changing', type: 'gitlab', url: 'https://old.example.com/api/v4' },
      });
      expect(changed.text).not.toContain(NEW_SECRET);
      expect(JSON.parse(await openAuth())).toEqual({
        credentials: { scheme: 'token', token: NEW_SECRET },
        owner: 'h',
      });
      const event = await api.services.database.db.auditEvent.findFirstOrThrow({
        where: { action: 'gitprovider.change' },
      });
      expect(event.after).toMatchObject({ auth_changed: true });
      const told = `${JSON.stringify([event.before, event.after])}${api.logLines.join('')}`;
      expect(told).not.toContain(NEW_SECRET);
    });

    it('move on the same host with what they have, and to another one only with new credentials', async () => {
      const before = await sealedAuth();
      const moved = await patch({ url: 'https://old.example.com/gitlab' });
      expect(moved.body.url).toBe('https://old.example.com/gitlab/api/v4');
      expect(await sealedAuth()).toEqual(before);
      for (const url of ['https://evil.example.com', 'http://old.example.com', null]) {
        const refused = await patch({ url });
        expect(refused).toMatchObject({
          status: 400,
          body: { error: { code: 'invalid_input', details: { parameter: 'auth' } } },
        });
      }
      const both = await patch({ url: 'https://new.example.com', auth: { token: NEW_SECRET } });
      expect(both).toMatchObject({ status: 200, body: { url: 'https://new.example.com/api/v4' } });
    });

    it('do not leave a host where gitrepos are', async () => {
      const uri = encodeURIComponent('https://new.example.com/x.git');
      await putGitrepo(`name=there&existing=true&uri=${uri}&gitprovider=changing`);
      const refused = await patch({ url: 'https://x.org', auth: { token: NEW_SECRET } });
      expect(refused).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } });
      expect((await api.call('GET', '/global/gitproviders/changing')).body.url).toContain('new.');
    });

    it.each<[string, unknown, RegExp]>([
      ['a type', { type: 'github', auth: { token: 'x' } }, /`type` cannot change/],
      ['nothing', {}, /`url`, `auth` or both/],
      ['half a login', { auth: { username: 'u' } }, /token/],
      ['a key of another kind', { auth: { token: 'x', workspace: 'w' } }, /workspace/],
      ['a bad url', { url: 'x.org' }, /url/],
    ])('refuse %s', async (_what, body, message) => {
      const refused = await patch(body);
      expect(refused.status).toBe(400);
      expect(refused.body.error.message).toMatch(message);
    });

    it('are missed if they are not there', async () => {
      expect((await patch({ auth: { token: 'x' } }, 'gp99')).status).toBe(404);
    });
  });

  it('are deleted, unless gitrepos are at them', async () => {
    const gitrepo = await putGitrepo('name=used&gitprovider=gp1&keypair=kp1');
    expect(gitrepo).toMatchObject({
      status: 202,
      body: { name: 'used', gitprovider: 'gp1', keypair: 'kp1', existing: false, uri: null },
    });
    const refused = await api.call('DELETE', '/global/gitproviders/gp1');
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { code: 'in_use', details: { used_by: { gitrepos: ['shop/used'] } } } },
    });
    expect((await api.call('DELETE', '/app/shop/gitrepos/used')).status).toBe(200);
    const deleted = await api.call('DELETE', '/global/gitproviders/hub');
    expect(deleted).toMatchObject({ status: 200, body: { deleted: { gitprovider: 'hub' } } });
    expect((await api.call('GET', '/global/gitproviders/hub')).status).toBe(404);
  });

  it('give gitrepos their credentials for their own repositories alone', async () => {
    const query = (uri: string, more = '') =>
      `name=theft&existing=true&uri=${encodeURIComponent(uri)}&gitprovider=gp1${more}`;
    for (const uri of [
      'https://evil.example.com/x.git',
      'http://git.example.com/x.git',
      'https://git.example.com.evil.org/x.git',
    ]) {
      const refused = await putGitrepo(query(uri));
      expect(refused).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
      expect(refused.body.error.message).toContain('credentials are not sent there');
    }
    const fine = await putGitrepo(query('https://git.example.com/x.git').replace('theft', 'fine'));
    expect(fine).toMatchObject({
      status: 202,
      body: { uri: 'https://git.example.com/x.git', existing: true, gitprovider: 'gp1' },
    });
  });

  it.each<[string, string, number, RegExp]>([
    ['an unknown provider', 'gitprovider=gp9', 400, /Git provider `gp9` does not exist/],
    ['an unknown keypair', 'gitprovider=gp1&keypair=kp9', 400, /Keypair `kp9` does not exist/],
    ['existing=true without uri', 'existing=true', 400, /`existing=true` needs `uri`/],
    ['existing=true and a provider alone', 'existing=true&gitprovider=gp1', 400, /needs `uri`/],
    ['a uri that is to be created', 'existing=false&uri=https://h/x', 400, /`existing=true`/],
    ['SSH without a keypair', 'uri=git@h:x.git', 400, /needs a `keypair`/],
    ['a command as uri', 'uri=ext::sh', 400, /uri is not where/],
    ['an option as uri', 'uri=--upload-pack=id&keypair=kp1', 400, /uri is not where/],
    ['a folder as uri', 'uri=/etc', 400, /uri is not where/],
    ['a password in the uri', 'uri=https://u:topsecret@h/x', 400, /must not hold a user/],
  ])('refuse a gitrepo with %s', async (_what, query, status, message) => {
    const refused = await putGitrepo(`name=bad&${query}`);
    expect(refused.status).toBe(status);
    expect(refused.body.error.message).toMatch(message);
    expect(refused.text).not.toContain('topsecret');
    expect((await api.call('GET', '/app/shop/gitrepos/bad')).status).toBe(404);
  });

  it('are in the audit, and their secrets nowhere', async () => {
    const audited = await api.services.database.db.auditEvent.findMany({
      where: { action: { startsWith: 'git' } },
      orderBy: { id: 'asc' },
    });
    expect(audited.map(({ action, subject }) => `${action} ${subject}`)).toEqual(
      expect.arrayContaining([
        'gitprovider.create gp1',
        'gitprovider.delete hub',
        'gitrepo.create used',
        'gitrepo.delete used',
      ]),
    );
    const rows = await api.services.database.db.gitprovider.findMany();
    const stored = rows.map(({ authSealed, ...row }) => ({
      ...row,
      auth: Buffer.from(authSealed).toString('latin1'),
    }));
    expect(stored).not.toHaveLength(0);
    const told = JSON.stringify([audited, stored, api.logLines], (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    expect(told.includes(SECRET)).toBe(false);
    expect(told.includes('topsecret')).toBe(false);
  });
});
