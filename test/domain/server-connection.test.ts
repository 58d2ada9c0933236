import { describe, expect, it } from 'vitest';
import { parseHost, parseLogin } from '../../src/domain/server-connection.ts';

describe('a host', () => {
  it.each([
    'h',
    'web01.example.com',
    'WEB-01.example.com.',
    'db_1.internal',
    '10.example',
    'xn--bcher-kva.example',
    '192.0.2.7',
    '::1',
    '2001:db8::7',
    'fe80::1%eth0',
  ])('may be %s', (host) => {
    expect(parseHost(host)).toBe(host);
  });

  it.each([
    '',
    '.',
    '-oProxyCommand=x',
    'h a;b',
    'h\nb',
    'a..b',
    'web01-',
    'web01:22',
    '[::1]',
    '300.1.1.1',
    '192.0.2',
    '192.0.2.7%eth0',
    '::1%',
    '::1%a b',
    'user@web01',
    'x'.repeat(64),
    `${'x.'.repeat(130)}x`,
  ])('cannot be %j', (host) => {
    expect(() => parseHost(host)).toThrow(/`connection.host`.+neither a host name nor an address/);
  });
});

describe('the name of an account', () => {
  it.each([
    'root',
    'deploy',
    '_apt',
    'web.deploy-2',
    'Bob',
    'machine$',
    'ci@example.com',
    'CORP\\ci',
  ])('may be %s', (user) => {
    expect(parseLogin(user)).toBe(user);
  });

  it.each(['', '-x y', '@x', 'a b', 'a$b', 'a;b', 'a\nb', 'x\n', 'a/b', 'x'.repeat(257)])(
    'cannot be %j',
    (user) => {
      expect(() => parseLogin(user)).toThrow(/`connection.user`.+cannot be the name/);
    },
  );
});
