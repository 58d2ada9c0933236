import type { StepStatus } from './deployment-state.ts';

/** A step of a deployment as a rollback looks at it. */
export interface DeployedStep {
  readonly serverId: string;
  readonly serverName: string;
  readonly gitdeployId: string;
  readonly gitdeployName: string;
  readonly status: StepStatus;
  /** What the server had before; null if the step never began. */
  readonly fromCommit: string | null;
  readonly fromBuildId: string | null;
  readonly toCommit: string | null;
}

export interface DeployedBatch<Step extends DeployedStep = DeployedStep> {
  readonly index: number;
  readonly slice: number;
  readonly level: number;
  readonly steps: readonly Step[];
}

/** What a server has now. */
export interface PresentState {
  readonly serverId: string;
  readonly gitdeployId: string;
  /** True if it is still what the deployment has brought. */
  readonly isOurs: boolean;
  readonly deployedCommit: string;
}

/** A step that puts back what a server had. */
export interface RollbackStep {
  readonly serverId: string;
  readonly serverName: string;
  readonly gitdeployId: string;
  readonly gitdeployName: string;
  readonly fromCommit: string;
  /** The commit that the server had; the one that it gets has the same tree. */
  readonly toCommit: string;
  readonly toBuildId: string | null;
}

export interface RollbackBatch {
  /** Place in the rollback, from 0. */
  readonly index: number;
  readonly slice: number;
  readonly level: number;
  readonly ordered: boolean;
  readonly steps: readonly RollbackStep[];
}

export interface RollbackPlan {
  readonly batches: readonly RollbackBatch[];
  /** Pairs that another deployment has changed since: what they have is not this deployment's to take away. */
  readonly leftAlone: readonly { readonly server: string; readonly gitdeploy: string }[];
}

/**
 * Plans how a deployment is taken back: what it brought to a server and is still there, batch by batch in the
 * opposite order, so that what was deployed last on a server goes first. There are no pauses: a rollback is wanted
 * soon, and it never works on two batches at once either.
 */
export function planRollback(
  batches: readonly DeployedBatch[],
  present: readonly PresentState[],
): RollbackPlan {
  const stateOf = new Map(present.map((p) => [`${p.serverId}:${p.gitdeployId}`, p]));
  const leftAlone: { server: string; gitdeploy: string }[] = [];
  const taken = (step: DeployedStep): RollbackStep[] => {
    const state = stateOf.get(`${step.serverId}:${step.gitdeployId}`);
    const { fromCommit, toCommit, fromBuildId, ...names } = step;
    if (fromCommit === null || toCommit === null) return [];
    if (state?.isOurs !== true) {
      if (step.status === 'succeeded') {
        leftAlone.push({ server: step.serverName, gitdeploy: step.gitdeployName });
      }
      return [];
    }
    if (state.deployedCommit === fromCommit) return [];
    const { serverId, serverName, gitdeployId, gitdeployName } = names;
    return [
      {
        serverId,
        serverName,
        gitdeployId,
        gitdeployName,
        fromCommit: state.deployedCommit,
        toCommit: fromCommit,
        toBuildId: fromBuildId,
      },
    ];
  };
  const planned = [...batches]
    .sort((a, b) => b.index - a.index)
    .map(({ slice, level, steps }) => ({ slice, level, steps: steps.flatMap(taken) }))
    .filter(({ steps }) => steps.length > 0);
  return {
    leftAlone,
    batches: planned.map((batch, index) => ({
      ...batch,
      index,
      ordered: planned[index + 1]?.slice === batch.slice,
    })),
  };
}
