import type { Db } from '../../store/database.ts';
import { findDeploymentHead } from '../../store/deployments.ts';
import { lostWorker } from '../../store/joined-jobs.ts';
import { type BatchInNeed, findBatchInNeed, hasOpenSteps } from '../../store/step-claims.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobHandler } from '../handler.ts';
import { pathLeaseSeconds, type SharedLeases, shareLeases } from '../hold-leases.ts';
import { pause } from '../pause.ts';
import { leaseHolder } from './deployment-end.ts';
import { keyOf } from './deployment-work.ts';
import { runShare, type Share } from './run-share.ts';

/** How often a worker that has joined looks for steps: at first soon, then less; and for how long in vain. */
const FIRST_LOOK_MS = 50;
const LAST_LOOK_MS = 250;
const PATIENCE_MS = 60_000;

/**
 * Runs steps of a deployment beside the worker that runs it, as long as there are any to take. That one decides on everything
 * else: what is committed, when a batch begins, how the deployment ends. What is left in the middle here is taken over
 * there, so this job is never gone on with by another worker.
 */
export function joinDeploymentHandler(
  dependencies: JobDependencies,
): JobHandler<'join_deployment'> {
  const { config, database } = dependencies;
  return {
    run: async ({ deploymentId }, context) => {
      const done = (steps: number) =>
        ({ outcome: 'succeeded', result: { deployment_id: deploymentId, steps } }) as const;
      if (await hasOpenSteps(database.db, { jobId: context.jobId, deploymentId })) {
        throw lostWorker();
      }
      const terms = {
        holder: leaseHolder(deploymentId),
        leaseSeconds: pathLeaseSeconds(config),
        signal: context.lost,
      };
      const signal = AbortSignal.any([context.signal, context.draining]);
      const steps = await shareLeases(database, terms, async (leases) => {
        let count = 0;
        let lookMs = FIRST_LOOK_MS;
        let needed = performance.now();
        while (!signal.aborted && performance.now() - needed < PATIENCE_MS) {
          const need = await findBatchInNeed(database.db, deploymentId);
          if (need === 'over') break;
          const share = need === null ? null : await shareOf(database.db, need, deploymentId);
          if (share !== null) {
            needed = performance.now();
            const taken = await runShare(dependencies, context, {
              ...share,
              ...whileLeased(leases),
              signal: AbortSignal.any([leases.lost, context.cancelled]),
            });
            count += taken;
            if (taken > 0) lookMs = FIRST_LOOK_MS;
          }
          await pause(lookMs, signal);
          lookMs = Math.min(LAST_LOOK_MS, lookMs * 2);
        }
        return count;
      });
      context.cancelled.throwIfAborted();
      return done(steps);
    },
    tellsFor: ({ deploymentId, jobId }) => ({ deploymentId, jobId }),
  };
}

/** The batch with what its steps are run by; null if the deployment is gone. */
async function shareOf(
  db: Db,
  { id, phase }: BatchInNeed,
  deploymentId: string,
): Promise<Pick<Share, 'batchId' | 'work'> | null> {
  const deployment = await findDeploymentHead(db, deploymentId);
  if (deployment === null) return null;
  return { batchId: id, work: { phase, deployment, options: deployment.options } };
}

/** Steps are run under the leases that the deployment has, while it has them. */
function whileLeased(leases: SharedLeases): Pick<Share, 'fences' | 'lost' | 'onTaken' | 'onDone'> {
  return {
    fences: leases.fences,
    lost: leases.lost,
    onTaken: (steps) => leases.add(steps.map(keyOf)),
    onDone: (steps) => leases.drop(steps.map(keyOf)),
  };
}
