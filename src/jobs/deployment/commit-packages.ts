import { summarizeChanges } from '../../domain/changed-files.ts';
import { AppError } from '../../domain/errors.ts';
import { insertDeploymentCommit } from '../../store/deployments.ts';
import { findGitrepoById, moveHead } from '../../store/gitrepos.ts';
import type { JobDependencies } from '../dependencies.ts';
import { COMMIT_AUTHOR, ensureBranch } from '../gitrepo-branch.ts';
import type { JobContext } from '../handler.ts';
import { type BranchCommits, branchKey, type DeploymentWork } from './deployment-work.ts';

/** A head that others keep moving is tried this often. */
const MAX_RACES = 20;

/**
 * Commits the build's packages to the gitrepo branches of all steps: one commit for each branch, made from rows
 * alone, so that doing it twice makes the same commit, and recorded together with the move of the head.
 * A branch that has the tree already gets no new commit.
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
    const commit = await commitPackage(dependencies, work, gitdeploy);
    commits.set(key, { ...commit, deploymentId: work.deployment.id });
    const { gitrepoName, branch, changedFiles } = commit;
    await context.emit(
      'commit',
      {
        gitrepo: gitrepoName,
        branch,
        commit: commit.commit,
        added: changedFiles.added,
        modified: changedFiles.modified,
        deleted: changedFiles.deleted,
      },
      work.deployment.id,
    );
  }
  return commits;
}

async function commitPackage(
  { database, depot }: JobDependencies,
  { deployment, build }: DeploymentWork,
  target: { gitrepoId: string; branch: string; packageName: string },
): Promise<Parameters<typeof insertDeploymentCommit>[1]> {
  const gitrepo = await findGitrepoById(database.db, target.gitrepoId);
  const tree = build.packages.find((p) => p.name === target.packageName)?.tree;
  if (gitrepo === null || tree === undefined) {
    throw new AppError(
      'conflict',
      `Package \`${target.packageName}\` or its gitrepo was removed after the deployment was planned. Deploy again.`,
    );
  }
  const { applicationId } = deployment;
  for (let race = 0; race < MAX_RACES; race += 1) {
    const head = await ensureBranch({ database, depot }, gitrepo, target.branch);
    const difference = await depot.diffTrees({ applicationId, from: head.headTree, to: tree });
    const commit =
      head.headTree === tree
        ? head.headCommit
        : await depot.commitTree({
            applicationId,
            tree,
            parent: head.headCommit,
            message: commitMessage(deployment, target.packageName),
            author: COMMIT_AUTHOR,
            date: deployment.createdAt,
          });
    // Before the row names it, so that a commit in a row is never garbage.
    await depot.keepHead({ applicationId, gitrepoId: gitrepo.id, branch: target.branch, commit });
    const record = {
      deploymentId: deployment.id,
      gitrepoId: gitrepo.id,
      gitrepoName: gitrepo.name,
      branch: target.branch,
      phase: 'forward' as const,
      tree,
      commit,
      changedFiles: summarizeChanges(difference),
    };
    const moved = await database.transaction(async (tx) => {
      const won = await moveHead(tx, {
        gitrepoId: gitrepo.id,
        branch: target.branch,
        from: head.headCommit,
        to: { commit, tree, buildId: build.id },
      });
      if (won) await insertDeploymentCommit(tx, record);
      return won;
    });
    if (moved) return record;
  }
  throw new AppError(
    'conflict',
    `Other deployments kept moving the head of gitrepo \`${gitrepo.name}\`. Deploy again when they have ended.`,
    { retryable: true },
  );
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
