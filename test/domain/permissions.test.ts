import { describe, expect, it } from 'vitest';
import { EVERYTHING, isAllowed, Permissions } from '../../src/domain/permissions.ts';

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
});
