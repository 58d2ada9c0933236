import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { GitproviderAuth, GitproviderKind } from '../../../src/domain/gitprovider.ts';
import { openProvider } from '../../../src/transport/providers/open.ts';
import { failure } from '../../depot/fixtures.ts';
import {
  type FakeApi,
  type FakeHost,
  type FakeProvider,
  fakeBitbucket,
  fakeGitea,
  fakeGithub,
  fakeGitlab,
  startFakeProvider,
} from '../../support/fake-provider.ts';

const SECRET = 'the-secret-of-the-provider';
const NEVER = new AbortController().signal;
const basic = (user: string): string =>
  `Basic ${Buffer.from(`${user}:${SECRET}`).toString('base64')}`;
const byToken = (owner: string | null = null): GitproviderAuth => ({
  credentials: { scheme: 'token', token: SECRET },
  owner,
});
const byPassword = (username: string, owner: string | null = null): GitproviderAuth => ({
  credentials: { scheme: 'password', username, password: SECRET },
  owner,
});

describe('git providers', () => {
  let provider: FakeProvider;
  let host: FakeHost;
  beforeAll(async () => {
    provider = await startFakeProvider(() => ({ status: 500 }));
  });
  beforeEach(() => {
    host = {
      httpBase: 'https://git.example.com',
      sshBase: 'git@git.example.com:',
      repositories: new Map(),
    };
  });
  afterAll(() => provider.close());

  const create = (kind: GitproviderKind, auth: GitproviderAuth, name = 'MyRepo1', about = 'mine') =>
    openProvider({ name: 'gp1', kind, url: provider.url, auth }).createRepository(
      { name, description: about },
      NEVER,
    );

  const cases: readonly {
    readonly title: string;
    readonly kind: GitproviderKind;
    readonly auth: GitproviderAuth;
    readonly api: () => FakeApi;
    readonly fullName: string;
    readonly path: string;
    readonly taken: RegExp;
  }[] = [
    {
      title: 'GitHub, for the user of the token',
      kind: 'github',
      auth: byToken(),
      api: () => fakeGithub(SECRET, host),
      fullName: 'Octocat/MyRepo1',
      path: '/user/repos',
      taken: /name already exists on this account/,
    },
    {
      title: 'GitHub, for that user by name',
      kind: 'github',
      auth: byToken('octocat'),
      api: () => fakeGithub(SECRET, host),
      fullName: 'Octocat/MyRepo1',
      path: '/user/repos',
      taken: /name already exists on this account/,
    },
    {
      title: 'GitHub, for an organization',
      kind: 'github',
      auth: byToken('acme'),
      api: () => fakeGithub(SECRET, host),
      fullName: 'acme/MyRepo1',
      path: '/orgs/acme/repos',
      taken: /name already exists on this account/,
    },
    {
      title: 'GitLab, for the user of the token',
      kind: 'gitlab',
      auth: byToken(),
      api: () => fakeGitlab(SECRET, host),
      fullName: 'tanuki/MyRepo1',
      path: '/api/v4/projects',
      taken: /name has already been taken/,
    },
    {
      title: 'GitLab, for a group in a group',
      kind: 'gitlab',
      auth: byToken('team/web'),
      api: () => fakeGitlab(SECRET, host),
      fullName: 'team/web/MyRepo1',
      path: '/api/v4/projects',
      taken: /path has already been taken/,
    },
    {
      title: 'Gitea, by token',
      kind: 'gitea',
      auth: byToken(),
      api: () => fakeGitea(`token ${SECRET}`, host),
      fullName: 'cup/MyRepo1',
      path: '/api/v1/user/repos',
      taken: /The repository with the same name already exists/,
    },
    {
      title: 'Gitea, by password and for an organization',
      kind: 'gitea',
      auth: byPassword('cup', 'tea'),
      api: () => fakeGitea(basic('cup'), host),
      fullName: 'tea/MyRepo1',
      path: '/api/v1/orgs/tea/repos',
      taken: /The repository with the same name already exists/,
    },
    {
      title: 'Bitbucket, by app password',
      kind: 'bitbucket',
      auth: byPassword('bucket'),
      api: () => fakeBitbucket(basic('bucket'), host),
      fullName: 'bucket/myrepo1',
      path: '/2.0/repositories/bucket/myrepo1',
      taken: /Repository with this Slug and Owner already exists/,
    },
    {
      title: 'Bitbucket, by API token, whose user is an address',
      kind: 'bitbucket',
      auth: byPassword('b@example.com'),
      api: () => fakeBitbucket(basic('b@example.com'), host),
      fullName: 'bucket/myrepo1',
      path: '/2.0/repositories/bucket/myrepo1',
      taken: /Repository with this Slug and Owner already exists/,
    },
    {
      title: 'Bitbucket, by access token in a workspace',
      kind: 'bitbucket',
      auth: byToken('space'),
      api: () => fakeBitbucket(`Bearer ${SECRET}`, host),
      fullName: 'space/myrepo1',
      path: '/2.0/repositories/space/myrepo1',
      taken: /Repository with this Slug and Owner already exists/,
    },
  ];

  describe.each(cases)('$title', ({ kind, auth, api, fullName, path, taken }) => {
    beforeEach(() => {
      provider.api = api();
    });

    it('creates a private repository and says where it is', async () => {
      expect(await create(kind, auth)).toMatchObject({
        sshUri: `git@git.example.com:${fullName}.git`,
        httpUri: `https://git.example.com/${fullName}.git`,
      });
      const post = provider.requests.findLast(({ method }) => method === 'POST');
      expect(post).toMatchObject({ path, headers: { 'content-type': 'application/json' } });
      expect(post?.body).toMatchObject({ name: 'MyRepo1', description: 'mine' });
      const { body } = post ?? {};
      expect(body.private ?? body.is_private ?? body.visibility === 'private').toBe(true);
      expect([...host.repositories.keys()]).toEqual([fullName]);
    });

    it('creates it once, though it is asked twice', async () => {
      const first = await create(kind, auth);
      expect(await create(kind, auth)).toEqual(first);
    });

    it("leaves another's repository of that name alone, and tells the provider's words", async () => {
      host.repositories.set(fullName, { description: 'of somebody else' });
      const error = await failure(create(kind, auth), 'gitprovider_refused');
      expect(error.message).toMatch(taken);
      expect(error.message).toContain('existing=true');
    });

    it('tells why it is not let in, and not by which secret', async () => {
      const wrong: GitproviderAuth = {
        ...auth,
        credentials:
          auth.credentials.scheme === 'token'
            ? { scheme: 'token', token: 'wrong-secret' }
            : { ...auth.credentials, password: 'wrong-secret' },
      };
      const error = await failure(create(kind, wrong), 'gitprovider_refused');
      expect(error.message).toMatch(/HTTP 401\): \w/);
      expect(error.message + JSON.stringify(error.details)).not.toContain('wrong-secret');
    });
  });

  it('tells that an organization or group does not exist', async () => {
    provider.api = fakeGithub(SECRET, host);
    const org = await failure(create('github', byToken('nobody')), 'gitprovider_refused');
    expect(org.message).toMatch(/HTTP 404\): Not Found/);
    provider.api = fakeGitlab(SECRET, host);
    const group = await failure(create('gitlab', byToken('nobody')), 'gitprovider_refused');
    expect(group.message).toMatch(/404 Namespace Not Found/);
  });

  it('blots out a secret that a provider repeats', async () => {
    provider.api = () => ({ status: 403, body: { message: `Token ${SECRET} lacks rights` } });
    const error = await failure(create('github', byToken()), 'gitprovider_refused');
    expect(error.details).toMatchObject({ words: 'Token [REDACTED] lacks rights' });
  });

  it.each<[string, FakeApi]>([
    ['is in trouble', () => ({ status: 502, body: '<html>Bad Gateway</html>' })],
    ['answers with a page', () => ({ status: 200, body: '<html>Welcome</html>' })],
    ['answers something else', () => ({ status: 201, body: { hello: 'world' } })],
    ['answers without end', () => ({ status: 201, body: 'x'.repeat(2 * 1024 ** 2) })],
    ['redirects', () => ({ status: 307, headers: { location: 'http://127.0.0.1:1/' } })],
  ])('says that a provider %s', async (_what, api) => {
    provider.api = api;
    const error = await failure(create('gitea', byToken()), 'gitprovider_unreachable');
    expect(error.retryable).toBe(true);
    expect(error.message).toContain('gp1');
  });

  it('says that nobody answers', async () => {
    const nobody = openProvider({
      name: 'gp1',
      kind: 'github',
      url: 'http://127.0.0.1:1',
      auth: byToken(),
    });
    const work = nobody.createRepository({ name: 'a', description: 'b' }, NEVER);
    const error = await failure(work, 'gitprovider_unreachable');
    expect(error.message).toMatch(/does not answer \(.*(ECONNREFUSED|bad port)/);
  });
});
