import { describe, expect, it } from 'vitest';
import {
  checkFreezeWindow,
  type FreezeWindow,
  frozenUntil,
  overSince,
} from '../../src/domain/freeze-window.ts';

const window = (of: Partial<FreezeWindow>): FreezeWindow => ({
  environment: 'production',
  name: 'weekend',
  schedule: '0 18 * * 5',
  durationSeconds: 62 * 3600,
  timezone: 'UTC',
  reason: null,
  ...of,
});
const until = (of: Partial<FreezeWindow>, now: string) =>
  frozenUntil(window(of), new Date(now))?.toISOString() ?? null;

describe('a freeze window', () => {
  // 2026-11-20 is a Friday.
  it.each([
    ['2026-11-20T17:59:59Z', null],
    ['2026-11-20T18:00:00Z', '2026-11-23T08:00:00.000Z'],
    ['2026-11-22T12:00:00Z', '2026-11-23T08:00:00.000Z'],
    ['2026-11-23T07:59:59.999Z', '2026-11-23T08:00:00.000Z'],
    ['2026-11-23T08:00:00Z', null],
  ])('at %s holds until %s', (now, expected) => {
    expect(until({}, now)).toBe(expected);
  });

  it('is in its own time zone, also where clocks change', () => {
    const berlin = { timezone: 'Europe/Berlin', schedule: '0 18 * * *', durationSeconds: 3600 };
    expect(until(berlin, '2026-07-01T16:30:00Z')).toBe('2026-07-01T17:00:00.000Z');
    expect(until(berlin, '2026-12-01T16:30:00Z')).toBe(null);
    expect(until(berlin, '2026-12-01T17:30:00Z')).toBe('2026-12-01T18:00:00.000Z');
  });

  it('is over for good once its only moment is, and never if it comes again', () => {
    const since = (of: Partial<FreezeWindow>, now: string) =>
      overSince(window(of), new Date(now))?.toISOString() ?? null;
    const once = { schedule: '2026-12-24T12:00:00+01:00', durationSeconds: 3600 };
    expect(since(once, '2026-12-24T11:59:59Z')).toBeNull();
    expect(since(once, '2026-12-24T12:00:00Z')).toBe('2026-12-24T12:00:00.000Z');
    expect(
      since({ schedule: '0 0 1 1 *', durationSeconds: 60 }, '2026-12-24T12:00:00Z'),
    ).toBeNull();
  });

  it('may be one moment', () => {
    const christmas = { schedule: '2026-12-24T12:00:00+01:00', durationSeconds: 3 * 86_400 };
    expect(until(christmas, '2026-12-24T10:59:59Z')).toBe(null);
    expect(until(christmas, '2026-12-25T00:00:00Z')).toBe('2026-12-27T11:00:00.000Z');
    expect(until(christmas, '2027-12-25T00:00:00Z')).toBe(null);
  });

  it('holds on where the next one begins before it ends', () => {
    const always = { schedule: '0 * * * *', durationSeconds: 5400 };
    expect(until(always, '2026-11-20T10:59:00Z')).toBe('2026-11-20T11:30:00.000Z');
    expect(until(always, '2026-11-20T11:30:00Z')).toBe('2026-11-20T12:30:00.000Z');
  });

  it.each([
    ['a schedule of six fields', { schedule: '0 0 18 * * 5' }, 'schedule'],
    ['a macro', { schedule: '@daily' }, 'schedule'],
    ['words', { schedule: 'every friday at noon please' }, 'schedule'],
    ['an hour that is none', { schedule: '0 25 * * *' }, 'schedule'],
    ['a day that is none', { schedule: '2026-13-41T00:00:00Z' }, 'schedule'],
    ['a time zone that is none', { timezone: 'Mars/Olympus' }, 'timezone'],
    ['no time at all', { durationSeconds: 0 }, 'duration'],
    ['ten years', { durationSeconds: 10 * 366 * 86_400 }, 'duration'],
  ])('is refused with %s', (_, of, parameter) => {
    let refused: unknown;
    try {
      checkFreezeWindow(window(of));
    } catch (error) {
      refused = error;
    }
    expect(refused).toMatchObject({ code: 'invalid_input', details: { parameter } });
  });

  it('is taken with what people write', () => {
    for (const schedule of ['0 18 * * 5', '*/15 8-17 * * MON-FRI', '0 0 24 12 *']) {
      expect(() => checkFreezeWindow(window({ schedule }))).not.toThrow();
    }
  });
});
