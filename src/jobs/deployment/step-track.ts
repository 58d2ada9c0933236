import type { StepProgress } from '../../domain/step-progress.ts';
import type { InstallationRow } from '../../store/installations.ts';
import { progressOf } from '../../store/steps.ts';
import type { StepWork } from './deployment-work.ts';

/** How far a step is, as this worker knows it. Its row follows a little later. */
export interface StepTrack {
  progress: StepProgress;
  /** Whose its runs on the server are; the same for every worker that has the step. */
  readonly runs: string;
  /** True if another worker has begun the step. */
  readonly isTakenUp: boolean;
}

/** Begins a step, or takes it up where its row says that another worker left it. */
export function trackOf({ step, installation }: StepWork): StepTrack {
  const known = progressOf(step);
  const progress = known ?? {
    // Attempts only grow, so no two doings of a step share it.
    run: step.attempts + 1,
    stage: 'prepull',
    state: 0,
    offset: 0,
    switched: null,
    before: {
      deployedBuildId: installation.deployedBuildId,
      deployedCommit: installation.deployedCommit,
      headCommit: installation.headCommit,
      deployedAt: installation.deployedAt?.toISOString() ?? null,
      deploymentId: installation.deploymentId,
      drift: installation.drift,
      missedBuildId: installation.missedBuildId,
      missedDeploymentId: installation.missedDeploymentId,
      missedAt: installation.missedAt?.toISOString() ?? null,
    },
  };
  return { progress, runs: `${step.id}-${progress.run}`, isTakenUp: known !== null };
}

/** Moves a step on. @returns how far it is now, to be stored */
export function advance(track: StepTrack, by: Partial<StepProgress>): StepProgress {
  track.progress = { ...track.progress, ...by };
  return track.progress;
}

/** The installation as it was before the step changed it. */
export function installationBefore(
  { installation }: StepWork,
  { progress: { before } }: StepTrack,
): InstallationRow {
  const deployedAt = before.deployedAt === null ? null : new Date(before.deployedAt);
  const missedAt = before.missedAt === null ? null : new Date(before.missedAt);
  return { ...installation, ...before, deployedAt, missedAt };
}
