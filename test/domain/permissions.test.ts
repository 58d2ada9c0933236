import { describe, expect, it } from 'vitest';
import {
  accessTo,
  EVERYTHING,
  executableActions,
  forbiddenServers,
  isAllowed,
  mayAdminister,
  Permissions,
} from '../../src/domain/permissions.ts';

const permissions = (apps: Permissions['apps']): Permissions => Permissions.parse({ apps });

describe('permissions', () => {
  it('give nothing to who has none', () => {
    expect(isAllowed(permissions({}), 'shop', 'read')).toBe(false);
  });

  it.each([
    ['read', true, false],
    ['write', false, true],
    ['read/write', true, true],
    ['', false, false],
  ] as const)('of %o give read %s and write %s', (given, read, write) => {
    expect(isAllowed(permissions({ shop: given }), 'shop', 'read')).toBe(read);
    expect(isAllowed(permissions({ shop: given }), 'shop', 'write')).toBe(write);
  });

  it('are decided by the longest matching glob, and an empty one denies', () => {
    const some = permissions({ '*': 'read/write', 'pay*': 'read', 'payments-secret': '' });
    expect(isAllowed(some, 'shop', 'write')).toBe(true);
    expect(isAllowed(some, 'payroll', 'write')).toBe(false);
    expect(isAllowed(some, 'payroll', 'read')).toBe(true);
    expect(isAllowed(some, 'payments-secret', 'read')).toBe(false);
  });

  it('take the narrower of two globs that are equally long', () => {
    const some = permissions({ 'a*': 'read/write', '*b': 'read' });
    expect(isAllowed(some, 'ab', 'read')).toBe(true);
    expect(isAllowed(some, 'ab', 'write')).toBe(false);
  });

  it('match names with dots, which are no hidden files', () => {
    expect(isAllowed(permissions({ '*': 'read' }), 'web01.example.com', 'read')).toBe(true);
  });

  it('reach what all applications share by its name alone, never by a glob', () => {
    expect(isAllowed(permissions({ '*': 'read/write' }), '_global', 'read')).toBe(false);
    expect(isAllowed(permissions({ '_g*': 'read/write' }), '_global', 'read')).toBe(false);
    expect(isAllowed(permissions({ _global: 'read' }), '_global', 'read')).toBe(true);
    expect(isAllowed(permissions({ _global: 'read' }), 'shop', 'read')).toBe(false);
  });

  it('of the first admin cover everything', () => {
    for (const scope of ['shop', '_global']) {
      expect(isAllowed(EVERYTHING, scope, 'read')).toBe(true);
      expect(isAllowed(EVERYTHING, scope, 'write')).toBe(true);
    }
  });

  it('treat names without wildcards as names, and letters as they are', () => {
    expect(isAllowed(permissions({ 'shop.x': 'read' }), 'shopsx', 'read')).toBe(false);
    expect(isAllowed(permissions({ Shop: 'read' }), 'shop', 'read')).toBe(false);
    expect(isAllowed(permissions({ 's[gh]op': 'read' }), 'shop', 'read')).toBe(true);
    expect(isAllowed(permissions({ '{shop,bank}': 'read' }), 'bank', 'read')).toBe(true);
    expect(isAllowed(permissions({ '!shop': 'read' }), 'bank', 'read')).toBe(false);
  });

  it('let who may write `_global` administer, and nobody else', () => {
    expect(mayAdminister(permissions({ '*': 'read/write', _global: 'read' }))).toBe(false);
    expect(mayAdminister(permissions({ _global: 'write' }))).toBe(true);
  });

  it.each([
    [{ shop: 'read' }, 'read'],
    [{ shop: 'write' }, 'write'],
    [{ '*': 'read/write' }, 'read/write'],
    [{ '*': 'read/write', shop: '' }, ''],
    [{}, ''],
  ] as const)('of %j come to %o for `shop`', (apps, access) => {
    expect(accessTo(permissions(apps), 'shop')).toBe(access);
  });

  it('give the actions of the longest glob that matches the application, and those alone', () => {
    const some = Permissions.parse({
      actions: { '*': { '*': 'execute' }, 'pay*': { 'drain-*': 'execute', check: 'execute' } },
    });
    expect(executableActions(some, 'shop')).toEqual(['*']);
    expect(executableActions(some, 'payroll')).toEqual(['check', 'drain-*']);
    expect(executableActions(permissions({}), 'shop')).toEqual([]);
  });

  it('name the servers that no glob matches', () => {
    const some = Permissions.parse({ servers: ['web*', 'db01'] });
    expect(forbiddenServers(some, ['web01.example.com', 'db01', 'db02'])).toEqual(['db02']);
    expect(forbiddenServers(permissions({}), ['web01'])).toEqual(['web01']);
  });

  it.each([
    { apps: { shop: 'admin' } },
    { apps: { '': 'read' } },
    { apps: { 'a/b': 'read' } },
    { apps: 'read' },
    { servers: ['x'.repeat(129)] },
    { servers: Array.from({ length: 1001 }, (_, i) => `s${i}`) },
    { servers: 'web*' },
    { actions: { shop: { deploy: 'read' } } },
  ])('are refused as %j', (given) => {
    expect(Permissions.safeParse(given).success).toBe(false);
  });

  it('lets the very name decide where a glob is just as long', () => {
    const apps = { w3: 'read/write', 'w*': 'read', w9: '' } as const;
    const permissions = Permissions.parse({ apps });
    expect(isAllowed(permissions, 'w3', 'write')).toBe(true);
    expect(isAllowed(permissions, 'w4', 'write')).toBe(false);
    expect(isAllowed(permissions, 'w4', 'read')).toBe(true);
    expect(isAllowed(permissions, 'w9', 'read')).toBe(false);
  });
});
