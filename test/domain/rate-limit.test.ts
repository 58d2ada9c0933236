import { describe, expect, it } from 'vitest';
import { createRateLimit } from '../../src/domain/rate-limit.ts';

describe('a rate limit', () => {
  it('gives a burst at once, then one turn in each interval', () => {
    const limit = createRateLimit({ burst: 3, perMinute: 6 });
    const waits = [0, 0, 0, 0].map(() => limit.take('a', 1000));
    expect(waits).toEqual([0, 0, 0, 10_000]);
    expect(limit.take('a', 10_999)).toBe(1);
    expect(limit.take('a', 11_000)).toBe(0);
    expect(limit.take('a', 11_000)).toBe(10_000);
  });

  it('gives the whole burst again to who was idle for long, and not more', () => {
    const limit = createRateLimit({ burst: 2, perMinute: 60 });
    for (let i = 0; i < 2; i += 1) limit.take('a', 0);
    expect([1, 2, 3].map(() => limit.take('a', 3_600_000))).toEqual([0, 0, 1000]);
  });

  it('counts each key for itself, and not what is given back', () => {
    const limit = createRateLimit({ burst: 1, perMinute: 1 });
    expect(limit.take('a', 0)).toBe(0);
    expect(limit.take('b', 0)).toBe(0);
    expect(limit.take('a', 0)).toBe(60_000);
    limit.giveBack('a');
    limit.giveBack('never seen');
    expect(limit.take('a', 0)).toBe(0);
  });

  it('remembers no more keys than it may, and forgets idle ones first', () => {
    const limit = createRateLimit({ burst: 1, perMinute: 1, maxKeys: 2 });
    limit.take('idle', 0);
    limit.take('busy', 59_000);
    limit.take('new', 61_000);
    expect(limit.take('busy', 61_000)).toBeGreaterThan(0);
    limit.take('newer', 61_000);
    expect(limit.take('busy', 61_000)).toBe(0);
  });
});
