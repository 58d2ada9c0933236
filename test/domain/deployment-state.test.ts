import { describe, expect, it } from 'vitest';
import type { Lifecycle } from '../../src/domain/deployment-state.ts';
import {
  batchLifecycle,
  canTransition,
  computeProgress,
  DEPLOYMENT_STATUSES,
  DEPLOYMENT_TRIGGERS,
  deploymentLifecycle,
  isFinal,
  nextStatus,
  stepLifecycle,
  transition,
  WORK_STATUSES,
  WORK_TRIGGERS,
} from '../../src/domain/deployment-state.ts';

const lifecycles: readonly {
  readonly lifecycle: Lifecycle<string, string>;
  readonly statuses: readonly string[];
  readonly triggers: readonly string[];
}[] = [
  {
    lifecycle: deploymentLifecycle,
    statuses: DEPLOYMENT_STATUSES,
    triggers: DEPLOYMENT_TRIGGERS,
  },
  { lifecycle: batchLifecycle, statuses: WORK_STATUSES, triggers: WORK_TRIGGERS },
  { lifecycle: stepLifecycle, statuses: WORK_STATUSES, triggers: WORK_TRIGGERS },
];

describe.each(lifecycles)('the life of a $lifecycle.noun', ({ lifecycle, statuses, triggers }) => {
  const reachableFrom = (start: string): Set<string> => {
    const reached = new Set([start]);
    // A Set that grows while it is walked visits what was added.
    for (const status of reached) {
      for (const { from, to } of lifecycle.transitions) if (from === status) reached.add(to);
    }
    return reached;
  };

  it('says at most once where an event leads', () => {
    const keys = lifecycle.transitions.map(({ from, event }) => `${from} ${event}`);
    expect(keys).toEqual([...new Set(keys)]);
  });

  it('uses every status and every event', () => {
    const rows = lifecycle.transitions;
    expect([...new Set(rows.flatMap(({ from, to }) => [from, to]))].sort()).toEqual(
      [...statuses].sort(),
    );
    expect([...new Set(rows.map(({ event }) => event))].sort()).toEqual([...triggers].sort());
  });

  it('reaches every status from the first', () => {
    expect([...reachableFrom(lifecycle.initial)].sort()).toEqual([...statuses].sort());
  });

  it('can come to an end from every status', () => {
    for (const status of statuses) {
      const ends = [...reachableFrom(status)].filter((one) => isFinal(lifecycle, one));
      expect(ends, status).not.toEqual([]);
    }
  });

  it('leaves a final status only because a user asks for it', () => {
    const ways = lifecycle.transitions.filter(({ from }) => isFinal(lifecycle, from));
    for (const { event } of ways) expect(['retry', 'rollback']).toContain(event);
  });
});

describe('a deployment', () => {
  it.each([
    ['all goes well', ['prepare', 'start', 'succeed'], 'succeeded'],
    ['it is paused and resumed', ['prepare', 'start', 'pause', 'resume', 'succeed'], 'succeeded'],
    ['it fails and is tried again', ['prepare', 'start', 'fail', 'retry'], 'queued'],
    ['it is cancelled while it waits', ['cancel'], 'cancelled'],
    ['it is cancelled in a pause', ['prepare', 'start', 'pause', 'cancel'], 'cancelled'],
    [
      'it is rolled back by a user',
      ['prepare', 'start', 'succeed', 'rollback', 'finish_rollback'],
      'rolled_back',
    ],
    [
      'it rolls itself back',
      ['prepare', 'start', 'rollback_on_failure', 'finish_rollback'],
      'rolled_back',
    ],
    [
      'its rollback fails and is tried again',
      ['prepare', 'start', 'fail', 'rollback', 'fail', 'rollback'],
      'rolling_back',
    ],
  ] as const)('when %s, ends as the API says', (_case, events, status) => {
    const end = events.reduce(
      (from, event) => transition(deploymentLifecycle, from, event),
      deploymentLifecycle.initial,
    );
    expect(end).toBe(status);
  });

  it.each([
    ['succeeded', 'cancel'],
    ['succeeded', 'retry'],
    ['queued', 'pause'],
    ['running', 'resume'],
    ['running', 'retry'],
    ['running', 'rollback'],
    ['paused', 'pause'],
    ['cancelled', 'resume'],
    ['rolling_back', 'cancel'],
    ['rolled_back', 'rollback'],
    ['rolled_back', 'retry'],
  ] as const)('that is %s refuses %s', (status, event) => {
    expect(canTransition(deploymentLifecycle, status, event)).toBe(false);
    expect(nextStatus(deploymentLifecycle, status, event)).toBeNull();
    expect(() => transition(deploymentLifecycle, status, event)).toThrow(
      expect.objectContaining({ code: 'conflict' }),
    );
  });

  it('says in one sentence why an event is refused and when it would not be', () => {
    expect(() => transition(deploymentLifecycle, 'rolling_back', 'retry')).toThrow(
      'The deployment is rolling back, so `retry` is not possible now; it is when the deployment is failed or cancelled.',
    );
  });
});

describe('computeProgress', () => {
  it('counts as done what ran to its end, well or not', () => {
    expect(computeProgress({ pending: 3, running: 2, succeeded: 4, failed: 1 })).toEqual({
      total: 10,
      done: 5,
      failed: 1,
      percent: 50,
    });
  });

  it('stays below 100 percent for what was skipped or cancelled', () => {
    expect(computeProgress({ succeeded: 1, skipped: 2, cancelled: 1 })).toEqual({
      total: 4,
      done: 1,
      failed: 0,
      percent: 25,
    });
  });

  it('says 100 percent only when every step has run', () => {
    expect(computeProgress({ succeeded: 9_999, running: 1 }).percent).toBe(99);
    expect(computeProgress({ succeeded: 10_000 }).percent).toBe(100);
  });

  it('is 0 percent of nothing before there is a plan', () => {
    expect(computeProgress({})).toEqual({ total: 0, done: 0, failed: 0, percent: 0 });
  });
});
