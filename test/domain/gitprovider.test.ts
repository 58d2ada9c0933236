import { describe, expect, it } from 'vitest';
import { parseGitUri } from '../../src/domain/git-uri.ts';
import {
  apiBase,
  assertGitproviderHosts,
  type GitproviderKind,
  gitLogin,
  parseGitproviderUrl,
} from '../../src/domain/gitprovider.ts';

describe('parseGitUri', () => {
  it.each([
    ['https://github.com/acme/shop.git', 'http'],
    ['http://git.local:3000/acme/shop', 'http'],
    ['https://[::1]:8443/~me/a%20b.git', 'http'],
    ['ssh://git@git.example.com:2222/srv/shop.git', 'ssh'],
    ['ssh://git.example.com/~/shop.git', 'ssh'],
    ['git@github.com:acme/shop.git', 'ssh'],
    ['host:shop', 'ssh'],
  ])('takes %s', (uri, kind) => {
    expect(parseGitUri(uri)).toMatchObject({ kind, uri });
  });

  it.each([
    '',
    '-oProxyCommand=touch /tmp/x',
    '--upload-pack=touch',
    'ext::sh -c id',
    'ext::id',
    'fd::17',
    'file:///srv/shop.git',
    '/srv/shop.git',
    './shop.git',
    '../shop.git',
    'git://host/shop.git',
    'ftp://host/shop.git',
    'ssh://-oProxyCommand=id/x',
    'ssh://git@-host/x',
    '-host:path',
    'git@host:-path',
    'git@host:a b',
    'git@host:a;id',
    'git@host:$(id)',
    'git@host:`id`',
    "git@host:a'b",
    'https://host/a\nb',
    'https://host/%0aevil',
    'https://host/x?y=z',
    'https://host/x#y',
    'https://host:99999/x',
    'https://host',
    'https://-host/x',
    `https://host/${'x'.repeat(1100)}`,
  ])('refuses %j', (uri) => {
    expect(() => parseGitUri(uri)).toThrow(/uri is not where a repository can be/);
  });

  it.each(['https://user:secret@host/x.git', 'https://token@host/x.git', 'ssh://u:secret@host/x'])(
    'refuses a password in %s without repeating it',
    (uri) => {
      expect(() => parseGitUri(uri)).toThrow(/must not hold a user or password/);
      expect(() => parseGitUri(uri)).not.toThrow(/secret|token@/);
    },
  );
});

describe('a git provider', () => {
  it.each<[GitproviderKind, string | null, string]>([
    ['github', null, 'https://api.github.com'],
    ['github', 'https://github.com/', 'https://api.github.com'],
    ['github', 'https://ghe.example.com/api/v3', 'https://ghe.example.com/api/v3'],
    ['gitlab', null, 'https://gitlab.com/api/v4'],
    ['gitlab', 'https://git.example.com/gitlab/', 'https://git.example.com/gitlab/api/v4'],
    ['gitlab', 'https://git.example.com/api/v4', 'https://git.example.com/api/v4'],
    ['gitea', 'http://127.0.0.1:3000', 'http://127.0.0.1:3000/api/v1'],
    ['bitbucket', 'https://bitbucket.org', 'https://api.bitbucket.org/2.0'],
    ['bitbucket', 'https://api.bitbucket.org', 'https://api.bitbucket.org/2.0'],
  ])('%s at %s has its API at %s', (kind, url, base) => {
    expect(apiBase(kind, url === null ? null : parseGitproviderUrl(url))).toBe(base);
  });

  it.each(['', 'git.example.com', 'ftp://x', 'https://u:p@x', 'https://x/?a=b', 'https://x/#a'])(
    'is not at %j',
    (url) => {
      expect(() => parseGitproviderUrl(url)).toThrow(/not the address of a git provider/);
    },
  );

  it.each<[GitproviderKind, string | null, string, boolean]>([
    ['github', null, 'https://github.com/a/b.git', true],
    ['github', null, 'https://GitHub.com/a/b.git', true],
    ['github', null, 'http://github.com/a/b.git', false],
    ['github', null, 'https://evil.example.com/a/b.git', false],
    ['github', 'https://ghe.example.com/api/v3', 'https://ghe.example.com/a/b.git', true],
    ['github', 'https://ghe.example.com/api/v3', 'https://github.com/a/b.git', false],
    ['bitbucket', null, 'https://bitbucket.org/a/b.git', true],
    ['gitea', 'http://127.0.0.1:3000', 'http://127.0.0.1:8080/a/b.git', true],
    ['gitea', 'http://127.0.0.1:3000', 'http://127.0.0.2:3000/a/b.git', false],
  ])('%s at %s: its credentials may go to %s? %s', (kind, url, text, isFine) => {
    const uri = parseGitUri(text);
    if (uri.kind !== 'http') throw new Error('unreachable');
    const check = () => assertGitproviderHosts(uri, { kind, url, name: 'gp1' });
    if (isFine) expect(check).not.toThrow();
    else expect(check).toThrow(/credentials are not sent there/);
  });

  it('logs git in as its kind wants it', () => {
    const token = { credentials: { scheme: 'token', token: 't' }, owner: null } as const;
    expect(gitLogin('github', token)).toEqual({ username: 'x-access-token', password: 't' });
    expect(gitLogin('gitlab', token)).toEqual({ username: 'oauth2', password: 't' });
    expect(gitLogin('bitbucket', token)).toEqual({ username: 'x-token-auth', password: 't' });
    const user = (username: string) =>
      ({ credentials: { scheme: 'password', username, password: 'p' }, owner: null }) as const;
    expect(gitLogin('gitea', user('cup'))).toEqual({ username: 'cup', password: 'p' });
    expect(gitLogin('bitbucket', user('me'))).toEqual({ username: 'me', password: 'p' });
    expect(gitLogin('bitbucket', user('me@x.org')).username).toBe('x-bitbucket-api-token-auth');
  });
});
