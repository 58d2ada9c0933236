import type { DeploymentOptions } from '../domain/deployment-options.ts';
import { AppError } from '../domain/errors.ts';
import type { Db } from '../store/database.ts';
import { listOverlapping, noteRequests } from '../store/deployments.ts';
import { deferJob, lockDeploymentJob } from '../store/jobs.ts';
import { recordAudit } from './audit.ts';
import type { Caller } from './context.ts';

/** How many deployments a refusal names. */
const MAX_NAMED = 20;

/**
 * Does as a new deployment wants about those that are under way on pairs of its own. To wait for them needs nothing
 * here: its worker does. One that is taken over from ends at its next safe point; a rollback is waited for.
 * @returns ids of the jobs that are to be rung for
 * @throws {AppError} `conflict` if it is not to begin beside others
 */
export async function settleConflicts(
  tx: Db,
  caller: Caller,
  deployment: {
    readonly id: string;
    readonly applicationId: string;
    readonly application: string;
    readonly onConflict: DeploymentOptions['on_conflict'];
  },
): Promise<string[]> {
  const { id, applicationId, application, onConflict } = deployment;
  if (onConflict === 'queue') return [];
  const others = await listOverlapping(tx, deployment);
  if (onConflict === 'reject') {
    if (others.length === 0) return [];
    throw new AppError(
      'conflict',
      `Deployment ${others[0]?.id} of build \`${others[0]?.buildName}\` works on the same servers${others.length === 1 ? '' : `, and ${others.length - 1} more do`}. Wait until it has ended, or deploy with \`on_conflict=queue\` or \`supersede\`.`,
      {
        details: {
          deployments: others
            .slice(0, MAX_NAMED)
            .map(({ id: other, status, buildName }) => ({ id: other, status, build: buildName })),
        },
      },
    );
  }
  const woken: string[] = [];
  for (const other of others) {
    if (other.status === 'rolling_back') continue;
    const job = await lockDeploymentJob(tx, { applicationId, deploymentId: other.id });
    await noteRequests(tx, other.id, { supersededById: id });
    await recordAudit(tx, caller, {
      action: 'deployment.supersede',
      application,
      subject: other.id,
      before: { status: other.status, build: other.buildName },
      after: { superseded_by: id },
    });
    if (job === null) continue;
    await deferJob(tx, job.id, 0);
    woken.push(job.id);
  }
  return woken;
}
