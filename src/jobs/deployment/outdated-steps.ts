import { AppError } from '../../domain/errors.ts';
import type { JobDependencies } from '../dependencies.ts';
import { allSteps, isOpen, type PhaseWork, type StepWork } from './deployment-work.ts';

/** By step: the newer commit that its server has. */
export type OutdatedSteps = ReadonlyMap<string, string>;

/**
 * Finds the steps of a retried deployment whose server got something newer from another deployment meanwhile. The
 * commit that they would bring is in the server's history already, so a switch would change nothing and yet be
 * taken for this build.
 */
export async function findOutdatedSteps(
  { depot }: JobDependencies,
  work: PhaseWork,
  commitOf: (step: StepWork) => string,
): Promise<OutdatedSteps> {
  const { id, applicationId } = work.deployment;
  const known = new Map<string, Promise<boolean>>();
  const outdated = new Map<string, string>();
  for (const item of allSteps(work).filter(isOpen)) {
    const { deployedCommit, deploymentId } = item.installation;
    const target = commitOf(item);
    if (deploymentId === id || deployedCommit === target) continue;
    const key = `${deployedCommit} ${target}`;
    const found =
      known.get(key) ??
      depot.isAncestor({ applicationId, ancestor: target, commit: deployedCommit });
    known.set(key, found);
    if (await found) outdated.set(item.step.id, deployedCommit);
  }
  return outdated;
}

export function outdatedError({ server, gitdeploy }: StepWork, newer: string): AppError {
  return new AppError(
    'conflict',
    `A later deployment has brought commit ${newer.slice(0, 12)} of \`${gitdeploy.name}\` to \`${server.name}\`, which goes on from what this one would bring. Make a new deployment of the build instead.`,
    { details: { deployed_commit: newer } },
  );
}
