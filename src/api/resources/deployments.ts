import type { z } from 'zod';
import { computeProgress, deploymentLifecycle, isFinal } from '../../domain/deployment-state.ts';
import type { DeploymentPlan } from '../../services/deployment-plan.ts';
import type {
  DeploymentDetails,
  ShownBatch,
  ShownPlan,
  ShownStep,
} from '../../services/deployments.ts';
import type * as schemas from '../schemas/deployments.ts';
import { toStoredError } from './json.ts';
import { toTime, toTimeOrNull } from './time.ts';

type Wire = z.infer<typeof schemas.Deployment>;

export function toDeployment(deployment: DeploymentDetails): Wire {
  return {
    id: deployment.id,
    application: deployment.applicationName,
    build: deployment.buildName,
    username: deployment.username,
    reason: deployment.reason,
    status: deployment.status,
    target: deployment.target,
    options: deployment.options,
    error: toStoredError(deployment.error),
    progress: toProgress(deployment.batches),
    created_datetime: toTime(deployment.createdAt),
    started_at: toTimeOrNull(deployment.startedAt),
    finished_at: toTimeOrNull(
      isFinal(deploymentLifecycle, deployment.status) ? deployment.finishedAt : null,
    ),
    waiting_for: deployment.waitingFor,
    superseded_by: deployment.supersededById,
    plan_hash: deployment.planHash,
    pause_requested_at: toTimeOrNull(deployment.pauseRequestedAt),
    cancel_requested_at: toTimeOrNull(deployment.cancelRequestedAt),
    commits: toCommits(deployment.commits),
    batches: deployment.batches.map(toBatch),
    rollback_batches: deployment.rollbackBatches.map(toBatch),
  };
}

export function toDeploymentPlan(plan: DeploymentPlan): z.infer<typeof schemas.DeploymentPlan> {
  return {
    application: plan.application,
    build: plan.build,
    dry_run: true,
    target: plan.target,
    options: plan.options,
    batches: plan.batches.map((batch) => ({
      index: batch.index,
      slice: batch.slice,
      level: batch.level,
      ordered: batch.ordered,
      pause_after: batch.pauseAfterSeconds,
      canary: batch.canary ?? false,
      approval_after: batch.approvalAfter ?? false,
      steps: batch.pairs.map(({ server, gitdeploy }) => ({ server, gitdeploy })),
    })),
    warnings: toWarnings(plan.warnings),
    changes: plan.changes,
    servers: Object.fromEntries(
      Object.entries(plan.servers).map(([gitdeploy, present]) => [
        gitdeploy,
        present.map(({ fromBuild, fromCommit, servers, isUpToDate, drifted, changes }) => ({
          from_build: fromBuild,
          from_commit: fromCommit,
          servers: [...servers],
          up_to_date: isUpToDate,
          drifted: [...drifted],
          changes,
        })),
      ]),
    ),
    committed_elsewhere: plan.committedElsewhere.map(
      ({ gitdeploy, gitrepo, branch, fromBuild }) => ({
        gitdeploy,
        gitrepo,
        branch,
        from_build: fromBuild,
      }),
    ),
    plan_hash: plan.planHash,
  };
}

export function toWarnings(
  warnings: DeploymentPlan['warnings'],
): z.infer<typeof schemas.DeploymentPlan>['warnings'] {
  return warnings.map(({ code, message, subject, missing }) => ({
    code,
    message,
    subject,
    ...(missing === undefined
      ? {}
      : {
          missing: Object.fromEntries(
            Object.entries(missing).map(([key, names]) => [key, [...names]]),
          ),
        }),
  }));
}

/** A gitrepo's name has no `/`, so the two kinds of keys cannot be taken for each other. */
export function toCommits(rows: ShownPlan['commits']): Wire['commits'] {
  const isAlone = (name: string): boolean =>
    rows.filter((row) => row.gitrepoName === name).length === 1;
  return Object.fromEntries(
    rows.map(({ gitrepoName, branch, commit, changedFiles }) => [
      isAlone(gitrepoName) ? gitrepoName : `${gitrepoName}/${branch}`,
      { branch, commit, changed_files: changedFiles },
    ]),
  );
}

export function toBatch(batch: ShownBatch): Wire['batches'][number] {
  return {
    index: batch.index,
    slice: batch.slice,
    level: batch.level,
    ordered: batch.ordered,
    pause_after: batch.pauseAfterSeconds,
    canary: batch.canary,
    approval_after: batch.approvalAfter,
    status: batch.status,
    started_at: toTimeOrNull(batch.startedAt),
    finished_at: toTimeOrNull(batch.finishedAt),
    approved_by: batch.approvedBy,
    approved_at: toTimeOrNull(batch.approvedAt),
    steps: batch.steps.map(toStep),
  };
}

function toStep(step: ShownStep): Wire['batches'][number]['steps'][number] {
  return {
    server: step.serverName,
    gitdeploy: step.gitdeployName,
    status: step.status,
    from_commit: step.fromCommit,
    to_commit: step.toCommit,
    duration_ms:
      step.startedAt === null
        ? null
        : Math.max(0, (step.finishedAt ?? new Date()).getTime() - step.startedAt.getTime()),
    attempts: step.attempts,
    error: toStoredError(step.error),
    log_excerpt: step.logExcerpt,
  };
}

export function toProgress(batches: readonly ShownBatch[]): Wire['progress'] {
  const counts: Partial<Record<ShownStep['status'], number>> = {};
  for (const { steps } of batches) {
    for (const { status } of steps) counts[status] = (counts[status] ?? 0) + 1;
  }
  return computeProgress(counts);
}
