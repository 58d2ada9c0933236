import { describe, expect, it } from 'vitest';
import type { Drift } from '../../src/domain/census.ts';
import {
  type FoundInstallation,
  isWorthTelling,
  serverNoticesOf,
} from '../../src/domain/server-notices.ts';
import { WEBHOOK_EVENTS } from '../../src/domain/webhook-events.ts';

const found = (...changes: (readonly [was: Drift, drift: Drift])[]): FoundInstallation[] =>
  changes.map(([was, drift], n) => ({
    application: 'shop',
    gitdeploy: `g${n}`,
    path: `/opt/${n}`,
    was,
    drift,
  }));
const told = (byLook: boolean, ...changes: (readonly [Drift, Drift])[]): [string, string[]][] =>
  serverNoticesOf(found(...changes), byLook).map(({ event, about }) => [
    event,
    about.map(({ gitdeploy }) => gitdeploy),
  ]);

describe('what is told of a server', () => {
  it('is nothing while all stays as it was', () => {
    for (const drift of ['none', 'modified', 'moved', 'unreachable', 'unknown'] as const) {
      expect(told(true, [drift, drift])).toEqual([]);
      expect(isWorthTelling(found([drift, drift]), true)).toBe(false);
    }
  });

  it('is that it went and came, when its first installation went and the last one is back', () => {
    const gone = ['none', 'unreachable'] as const;
    expect(told(true, gone, gone)).toEqual([['server.unreachable', ['g0', 'g1']]]);
    // A deployment worked on the other one when the server was looked at first.
    expect(told(true, ['unreachable', 'unreachable'], gone)).toEqual([]);
    expect(told(true, ['unreachable', 'none'], ['unreachable', 'unreachable'])).toEqual([]);
    expect(told(true, ['unreachable', 'none'], ['none', 'none'])).toEqual([
      ['server.reachable', ['g0']],
    ]);
    expect(told(true, ['unreachable', 'unknown'])).toEqual([['server.reachable', ['g0']]]);
  });

  it('is what drifted, where a look has found it, and what drifted otherwise', () => {
    expect(told(true, ['none', 'modified'], ['none', 'none'])).toEqual([
      ['server.drifted', ['g0']],
    ]);
    expect(told(true, ['modified', 'moved'])).toEqual([['server.drifted', ['g0']]]);
    expect(told(true, ['unreachable', 'moved'])).toEqual([
      ['server.reachable', ['g0']],
      ['server.drifted', ['g0']],
    ]);
    expect(told(true, ['modified', 'none'], ['modified', 'unknown'])).toEqual([]);
    expect(told(false, ['none', 'modified'])).toEqual([]);
    expect(isWorthTelling(found(['none', 'modified']), false)).toBe(false);
  });

  it('has names that webhooks can hear of', () => {
    const all = serverNoticesOf(found(['unreachable', 'moved']), true).concat(
      serverNoticesOf(found(['none', 'unreachable']), true),
    );
    expect(WEBHOOK_EVENTS).toEqual(expect.arrayContaining(all.map(({ event }) => event)));
  });
});
