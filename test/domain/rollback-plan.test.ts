import { describe, expect, it } from 'vitest';
import {
  type DeployedStep,
  type PresentState,
  planRollback,
} from '../../src/domain/rollback-plan.ts';

const step = (
  server: string,
  gitdeploy: string,
  more: Partial<DeployedStep> = {},
): DeployedStep => ({
  serverId: `${server}-id`,
  serverName: server,
  gitdeployId: `${gitdeploy}-id`,
  gitdeployName: gitdeploy,
  status: 'succeeded',
  fromCommit: 'old',
  fromBuildId: 'old-build',
  toCommit: 'new',
  ...more,
});
const state = (
  server: string,
  gitdeploy: string,
  more: Partial<PresentState> = {},
): PresentState => ({
  serverId: `${server}-id`,
  gitdeployId: `${gitdeploy}-id`,
  isOurs: true,
  deployedCommit: 'new',
  ...more,
});
const batch = (index: number, slice: number, level: number, steps: DeployedStep[]) => ({
  index,
  slice,
  level,
  steps,
});

describe('the plan of a rollback', () => {
  it('goes through the batches backwards, and back to what each server had', () => {
    const plan = planRollback(
      [
        batch(0, 0, 0, [step('s0', 'a')]),
        batch(1, 0, 1, [step('s0', 'b', { fromCommit: 'first', fromBuildId: null })]),
        batch(2, 1, 0, [step('s1', 'a')]),
      ],
      [state('s0', 'a'), state('s0', 'b'), state('s1', 'a')],
    );
    expect(plan.leftAlone).toEqual([]);
    expect(
      plan.batches.map((b) => [
        b.index,
        b.slice,
        b.level,
        b.ordered,
        b.steps.map((s) => s.serverName),
      ]),
    ).toEqual([
      [0, 1, 0, false, ['s1']],
      [1, 0, 1, true, ['s0']],
      [2, 0, 0, false, ['s0']],
    ]);
    expect(plan.batches[1]?.steps).toEqual([
      {
        serverId: 's0-id',
        serverName: 's0',
        gitdeployId: 'b-id',
        gitdeployName: 'b',
        fromCommit: 'new',
        toCommit: 'first',
        toBuildId: null,
      },
    ]);
  });

  it('leaves alone what another deployment has changed since, and tells of it', () => {
    const plan = planRollback(
      [batch(0, 0, 0, [step('s0', 'a'), step('s1', 'a')])],
      [state('s0', 'a', { isOurs: false, deployedCommit: 'newer' }), state('s1', 'a')],
    );
    expect(plan.leftAlone).toEqual([{ server: 's0', gitdeploy: 'a' }]);
    expect(plan.batches.flatMap((b) => b.steps.map((s) => s.serverName))).toEqual(['s1']);
  });

  it('takes back a step that failed after its switch, and nothing that never began or changed nothing', () => {
    const plan = planRollback(
      [
        batch(0, 0, 0, [
          step('s0', 'a', { status: 'failed' }),
          step('s1', 'a', { status: 'skipped', fromCommit: null, toCommit: null }),
          step('s2', 'a', { fromCommit: 'new' }),
          step('s3', 'a', { status: 'failed' }),
        ]),
      ],
      [
        state('s0', 'a'),
        state('s1', 'a', { isOurs: false, deployedCommit: 'old' }),
        state('s2', 'a'),
        // Put back by the step itself.
        state('s3', 'a', { isOurs: false, deployedCommit: 'old' }),
      ],
    );
    expect(plan.leftAlone).toEqual([]);
    expect(plan.batches.flatMap((b) => b.steps.map((s) => s.serverName))).toEqual(['s0']);
  });

  it('is empty for a deployment that came to nothing', () => {
    expect(planRollback([batch(0, 0, 0, [step('s0', 'a', { fromCommit: null })])], [])).toEqual({
      batches: [],
      leftAlone: [],
    });
  });
});
