import { describe, expect, it } from 'vitest';
import type { FreezeWindow } from '../../src/domain/freeze-window.ts';
import { closedGate, type FinishedBatch } from '../../src/domain/gates.ts';

const now = new Date('2026-11-20T12:00:00Z');
const previous = (of: Partial<FinishedBatch> = {}): FinishedBatch => ({
  index: 3,
  finishedAt: new Date('2026-11-20T11:59:00Z'),
  pauseAfterSeconds: 0,
  approvalAfter: false,
  approvedAt: null,
  ...of,
});
const freeze = (name: string, minutes: number): FreezeWindow => ({
  environment: 'production',
  name,
  schedule: '2026-11-20T11:30:00Z',
  durationSeconds: minutes * 60,
  timezone: 'UTC',
  reason: 'month end',
});

describe('a batch', () => {
  it('begins where nothing holds it', () => {
    expect(closedGate({ previous: null, freezeWindows: [], now })).toBeNull();
    expect(
      closedGate({ previous: previous(), freezeWindows: [freeze('over', 30)], now }),
    ).toBeNull();
  });

  it('waits for the rest of the pause', () => {
    const input = { previous: previous({ pauseAfterSeconds: 90 }), freezeWindows: [], now };
    const until = '2026-11-20T12:00:30.000Z';
    expect(closedGate(input)).toEqual({ kind: 'pause', after_batch: 3, until });
    expect(closedGate({ ...input, now: new Date(until) })).toBeNull();
  });

  it('waits for an approval, and then for what is left of the pause', () => {
    const waiting = previous({ pauseAfterSeconds: 90, approvalAfter: true });
    const input = { previous: waiting, freezeWindows: [], now };
    expect(closedGate(input)).toEqual({ kind: 'approval', after_batch: 3 });
    const approved = { ...input, previous: { ...waiting, approvedAt: now } };
    expect(closedGate(approved)).toMatchObject({ kind: 'pause' });
    expect(closedGate({ ...approved, now: new Date('2026-11-20T12:01:00Z') })).toBeNull();
  });

  it('waits for the freeze that holds longest, also before the first one', () => {
    const freezeWindows = [freeze('short', 40), freeze('long', 60), freeze('shorter', 31)];
    expect(closedGate({ previous: null, freezeWindows, now })).toEqual({
      kind: 'freeze',
      environment: 'production',
      freeze_window: 'long',
      until: '2026-11-20T12:30:00.000Z',
      reason: 'month end',
    });
  });
});
