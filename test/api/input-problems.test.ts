import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './test-api.ts';

const SERVER = '/server?name=web01&environment=production';
const USER = '/global/users?username=bob';
const PROVIDER = '/global/gitproviders?name=lab';
const MAP = '/app/shop/packagemaps?name=map';
const GITDEPLOY = '/app/shop/gitdeploys?name=web';

const gitdeploy = (more: object): object => ({
  package: 'web',
  location: { path: '/opt/web', gitrepo: 'repo', default_branch: 'master' },
  ...more,
});
const user = (permissions: object): object => ({ password: 'a long password', permissions });

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.call('PUT', '/app?app_name=shop');
});
afterAll(() => api.close());

const refusal = async (method: string, url: string, body: unknown): Promise<string> => {
  const reply = await api.call(method, url, { body });
  expect(reply.status, reply.text).toBe(400);
  return reply.body.error.message;
};

describe('a number that JSON cannot carry', () => {
  it('is refused in attributes, by its place, as what is stored would be another one', async () => {
    const connection = { kind: 'local', root: '/srv' };
    const written = (number: string): string =>
      `{"connection":${JSON.stringify(connection)},"attributes":{"ids":[1,{"serial":${number}}]}}`;
    for (const number of ['12345678901234567890', '-9007199254740993', '1e999']) {
      const message = await refusal('PUT', SERVER, written(number));
      expect(message).toBe(
        '`attributes.ids.1.serial` is a number beyond 9007199254740991, which would be rounded; give it as a string.',
      );
    }
    const reply = await api.call('PUT', SERVER, { body: written('9007199254740991') });
    expect(reply).toMatchObject({
      status: 201,
      body: { attributes: { ids: [1, { serial: 9_007_199_254_740_991 }] } },
    });
  });

  it.each([
    ['PUT', '/app/shop/builds?build_name=b1', {}],
    ['PUT', GITDEPLOY, gitdeploy({})],
    ['PUT', '/app/shop/groups?name=front', { gitdeploys: [] }],
    ['PATCH', '/server/web01', {}],
  ])('is refused by %s %s', async (method, url, more) => {
    const message = await refusal(method, url, { ...more, attributes: { serial: 2 ** 60 } });
    expect(message).toContain('`attributes.serial` is a number beyond');
  });

  it('is found in a list of any length, and ten times at most', async () => {
    const body = `{"attributes":{"a":[${'0,'.repeat(200_000)}${'1e17,'.repeat(11)}0]}}`;
    const message = await refusal('PATCH', '/server/web01', body);
    expect(message.split('would be rounded')).toHaveLength(11);
    expect(message).toMatch(/^`attributes\.a\.200000` is a number/);
  });
});

describe('a misspelt key', () => {
  it.each([
    [
      'of a connection',
      SERVER,
      { connection: { kind: 'ssh', hots: 'a' } },
      'connection.hots',
      'host',
    ],
    ['of a folder', SERVER, { connection: { kind: 'local', rot: '/' } }, 'connection.rot', 'root'],
    [
      'of a package',
      MAP,
      { packages: { a: { patterns: ['*'], prefx: '' } } },
      'packages.a.prefx',
      'prefix',
    ],
    ['of permissions', USER, user({ serverss: [] }), 'permissions.serverss', 'servers'],
    ['of a login', PROVIDER, { type: 'gitea', auth: { usernam: 'a' } }, 'auth.usernam', 'username'],
    ['of a location', GITDEPLOY, gitdeploy({ location: { pth: '/' } }), 'location.pth', 'path'],
    [
      'of options',
      GITDEPLOY,
      gitdeploy({ options: { favour: 'ours' } }),
      'options.favour',
      'favor',
    ],
    ['of actions', GITDEPLOY, gitdeploy({ actions: { prepul: {} } }), 'actions.prepul', 'prepull'],
    ['of action', GITDEPLOY, gitdeploy({ action: { postpul: {} } }), 'action.postpul', 'postpull'],
  ])('%s is told with the one that was probably meant', async (_what, url, body, key, nearest) => {
    expect(await refusal('PUT', url, body)).toContain(
      `\`${key}\` is not a key of the body (did you mean \`${nearest}\`?)`,
    );
  });

  it('is looked for among the keys of the kind that was asked for alone', async () => {
    const body = { connection: { kind: 'local', root: '/', usr: 'a' } };
    expect(await refusal('PUT', SERVER, body)).toBe(
      '`connection.usr` is not a key of the body (known are `kind` and `root`).',
    );
  });

  it('is found where an object may stand beside something else', async () => {
    const url = '/app/shop/gitdeploys/web?initialize=true';
    expect(await refusal('POST', url, { server: ['web01'] })).toContain(
      '`server` is not a key of the body (did you mean `servers`?)',
    );
    expect(await refusal('POST', url, ['web01'])).toBe(
      'The body must be an object with `servers`, or a glob over names in one string.',
    );
  });
});

describe('a wrong value', () => {
  it.each([
    [SERVER, { connection: { kind: 'shh' } }, '`connection.kind` must be `ssh` or `local`.'],
    [SERVER, { connection: { host: 'a' } }, '`connection.kind` is missing.'],
    [SERVER, { connection: 7 }, '`connection` must be an object, not a number.'],
    [SERVER, { connection: { kind: 'local', root: '' } }, '`connection.root` must not be empty.'],
    [
      PROVIDER,
      { type: 'githb' },
      '`type` must be one of `github`, `gitlab`, `gitea`, `bitbucket`.',
    ],
    [USER, user({ actions: { a: { b: 'run' } } }), '`permissions.actions.a.b` must be `execute`.'],
    ['/app?app_name=', undefined, '`app_name` must not be empty.'],
  ])('is named once: PUT %s of %j', async (url, body, message) => {
    expect(await refusal('PUT', url, body)).toBe(message);
  });
});
