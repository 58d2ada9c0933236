import { describe, expect, it } from 'vitest';
import { AppError } from '../../src/domain/errors.ts';
import { createLoginGuard } from '../../src/services/login-guard.ts';

const LIMITED = expect.objectContaining({ code: 'too_many_requests' });

/** How many of so many attempts are let through. */
function count(attempts: number, attempt: (i: number) => void): number {
  let admitted = 0;
  for (let i = 0; i < attempts; i += 1) {
    try {
      attempt(i);
      admitted += 1;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      expect(error).toEqual(LIMITED);
      expect(error.details['retry_after_seconds']).toBeGreaterThan(0);
    }
  }
  return admitted;
}

describe('the login guard', () => {
  it('admits ten wrong logins for one username, wherever they come from', () => {
    const guard = createLoginGuard();
    expect(count(30, (i) => guard.admit('bob', `203.0.113.${i}`))).toBe(10);
    expect(() => guard.admit('bob', '198.51.100.1')).toThrow(LIMITED);
    expect(() => guard.admit('carl', '198.51.100.1')).not.toThrow();
  });

  it('admits thirty wrong logins from one address, whoever they are for', () => {
    const guard = createLoginGuard();
    expect(count(50, (i) => guard.admit(`user-${i}`, '203.0.113.1'))).toBe(30);
    expect(() => guard.admit('user-99', '203.0.113.2')).not.toThrow();
  });

  it.each([
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9', true],
    ['2001:db8::1', '2001:db8:0:0:7::', true],
    ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['::ffff:203.0.113.1', '203.0.113.1', true],
    ['::1', '::2', true],
  ])('takes %s and %s for one address: %o', (one, other, isSame) => {
    const guard = createLoginGuard();
    count(30, (i) => guard.admit(`user-${i}`, one));
    expect(count(1, () => guard.admit('somebody', other))).toBe(isSame ? 0 : 1);
  });

  it('does not count right logins', () => {
    const guard = createLoginGuard();
    expect(count(100, () => guard.admit('bob', '203.0.113.1')())).toBe(100);
  });

  it('counts attempts while their passwords are still being looked at', () => {
    const guard = createLoginGuard();
    const takeBack = Array.from({ length: 10 }, () => guard.admit('bob', null));
    expect(() => guard.admit('bob', null)).toThrow(LIMITED);
    takeBack[0]?.();
    expect(() => guard.admit('bob', null)).not.toThrow();
  });
});
