import { AppError } from '../../domain/errors.ts';
import { insertDeploymentCommit } from '../../store/deployments.ts';
import { appendEvent } from '../../store/events.ts';
import { findGitrepoById } from '../../store/gitrepos.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { commitToBranch, type MadeCommit } from './commit-to-branch.ts';
import { type BranchCommits, branchKey, type DeploymentWork } from './deployment-work.ts';

type NewCommit = Parameters<typeof insertDeploymentCommit>[1];

/**
 * Commits the build's packages to the gitrepo branches of all steps: one commit for each branch, made from rows
 * alone, so that doing it twice makes the same commit, pushed to its provider, and recorded together with the move of
 * the head. See `commitToBranch`.
 */
export async function commitPackages(
  dependencies: JobDependencies,
  context: JobContext,
  work: DeploymentWork,
): Promise<BranchCommits> {
  const commits = new Map(work.deployment.commits.map((c) => [branchKey(c), c]));
  for (const { gitdeploy } of work.batches.flatMap((b) => b.steps)) {
    const key = branchKey(gitdeploy);
    if (commits.has(key)) continue;
    const commit = await commitPackage(dependencies, context, work, gitdeploy);
    commits.set(key, { ...commit, deploymentId: work.deployment.id });
  }
  return commits;
}

async function commitPackage(
  dependencies: JobDependencies,
  context: JobContext,
  { deployment, build }: DeploymentWork,
  target: { gitrepoId: string; branch: string; packageName: string },
): Promise<NewCommit> {
  const gitrepo = await findGitrepoById(dependencies.database.db, target.gitrepoId);
  const tree = build.packages.find((p) => p.name === target.packageName)?.tree;
  if (gitrepo === null || tree === undefined) {
    throw new AppError(
      'conflict',
      `Package \`${target.packageName}\` or its gitrepo was removed after the deployment was planned. Deploy again.`,
    );
  }
  const toRecord = ({ commit, changedFiles }: MadeCommit): NewCommit => ({
    deploymentId: deployment.id,
    gitrepoId: gitrepo.id,
    gitrepoName: gitrepo.name,
    branch: target.branch,
    phase: 'forward',
    tree,
    commit,
    changedFiles,
  });
  const made = await commitToBranch(dependencies, context, {
    gitrepo,
    branch: target.branch,
    tree,
    buildId: build.id,
    message: commitMessage(deployment, target.packageName),
    date: deployment.createdAt,
    record: async (tx, commit) => {
      await insertDeploymentCommit(tx, toRecord(commit));
      const { added, modified, deleted } = commit.changedFiles;
      await appendEvent(tx, {
        jobId: context.jobId,
        deploymentId: deployment.id,
        kind: 'commit',
        data: {
          gitrepo: gitrepo.name,
          branch: target.branch,
          commit: commit.commit,
          added,
          modified,
          deleted,
        },
      });
    },
  });
  return toRecord(made);
}

function commitMessage(
  deployment: { id: string; buildName: string; username: string; reason: string | null },
  packageName: string,
): string {
  return [
    deployment.buildName,
    '',
    ...(deployment.reason === null ? [] : [deployment.reason, '']),
    `Muster-Deployment: ${deployment.id}`,
    `Muster-Package: ${packageName}`,
    `Muster-User: ${deployment.username}`,
    '',
  ].join('\n');
}
