import { EMPTY_TREE } from '../../depot/git.ts';
import { AppError } from '../../domain/errors.ts';
import { type CommitRow, recordRollbackCommit } from '../../store/deployments.ts';
import { appendEvent } from '../../store/events.ts';
import { findBranch, findGitrepoById, type GitrepoRow } from '../../store/gitrepos.ts';
import { findBuildOfTree } from '../../store/rollbacks.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { commitToBranch } from './commit-to-branch.ts';
import { allSteps, branchKey, type PhaseWork, type StepWork } from './deployment-work.ts';

/** A tree that servers had, or that a branch is to end at, and the build it is of. */
interface OldTree {
  readonly tree: string;
  readonly buildId: string | null;
}

/** One branch of the deployment, and what is to be committed to it. */
interface BranchRollback {
  readonly forward: CommitRow;
  readonly gitrepo: GitrepoRow;
  /** What servers had. */
  readonly trees: readonly OldTree[];
  /** What is recorded of it; a row without a commit is one that is still to be made. */
  readonly recorded: readonly CommitRow[];
}

/**
 * Commits what the servers had before: one new commit for each distinct tree of each branch, on top of the head, so
 * that history only grows and every server can go forward to it. The branch ends at the tree that it had before the
 * deployment; or, if others have committed since, at theirs. Each commit is recorded together with the move of the
 * head, and made from rows alone, so that it can be gone on from anywhere.
 * @returns the commit that each step brings
 */
export async function commitRollback(
  dependencies: JobDependencies,
  context: JobContext,
  work: PhaseWork,
): Promise<(step: StepWork) => string> {
  const { deployment } = work;
  const treeOf = await readTrees(dependencies, work);
  const commits = new Map<string, string>();
  for (const forward of deployment.commits) {
    const key = branchKey(forward);
    const trees = new Map<string, OldTree>();
    for (const item of allSteps(work)) {
      if (branchKey(item.gitdeploy) !== key) continue;
      trees.set(treeOf(item), { tree: treeOf(item), buildId: item.step.toBuildId });
    }
    const gitrepo = await findGitrepoById(dependencies.database.db, forward.gitrepoId);
    if (gitrepo === null) throw gone(forward);
    const recorded = deployment.rollbackCommits.filter((c) => branchKey(c) === key);
    const branch = { forward, gitrepo, trees: [...trees.values()], recorded };
    for (const [tree, commit] of await commitBranch(dependencies, context, work, branch)) {
      commits.set(`${key} ${tree}`, commit);
    }
  }
  return (item) => {
    const commit = commits.get(`${branchKey(item.gitdeploy)} ${treeOf(item)}`);
    if (commit === undefined) throw new AppError('internal', 'A step has no commit.');
    return commit;
  };
}

/** The tree of what each step goes back to. The commit it has brought already, if it was begun, has the same one. */
async function readTrees(
  { depot }: JobDependencies,
  work: PhaseWork,
): Promise<(item: StepWork) => string> {
  const trees = new Map<string, string>();
  for (const { step } of allSteps(work)) {
    if (step.toCommit === null || trees.has(step.toCommit)) continue;
    trees.set(step.toCommit, await depot.treeOf(work.deployment.applicationId, step.toCommit));
  }
  return ({ step }) => trees.get(step.toCommit ?? '') ?? EMPTY_TREE;
}

/** @returns the commit of each tree */
async function commitBranch(
  dependencies: JobDependencies,
  context: JobContext,
  work: PhaseWork,
  branch: BranchRollback,
): Promise<ReadonlyMap<string, string>> {
  const { forward, gitrepo, recorded } = branch;
  const { deployment } = work;
  const commits = new Map(
    recorded.filter(({ commit }) => commit !== '').map(({ tree, commit }) => [tree, commit]),
  );
  const isDone = recorded.length > 0 && commits.size === recorded.length;
  if (isDone && branch.trees.every(({ tree }) => commits.has(tree))) return commits;
  const last = await restingTree(dependencies, work, branch);
  for (const { tree, buildId } of inOrder(branch.trees, last)) {
    if (commits.has(tree)) continue;
    const row = {
      deploymentId: deployment.id,
      gitrepoId: gitrepo.id,
      gitrepoName: gitrepo.name,
      branch: forward.branch,
    };
    const { commit } = await commitToBranch(dependencies, context, {
      gitrepo,
      branch: forward.branch,
      tree,
      buildId,
      message: commitMessage(deployment),
      date: startOf(work),
      record: async (tx, made) => {
        await recordRollbackCommit(tx, { ...row, tree, ...made });
        // From here on the head is no longer what it was, so where it is to end must be written down.
        if (tree !== last.tree) {
          const { tree: end } = last;
          await recordRollbackCommit(tx, { ...row, tree: end, commit: '', changedFiles: NONE });
        }
        const { added, modified, deleted } = made.changedFiles;
        await appendEvent(tx, {
          jobId: context.jobId,
          deploymentId: deployment.id,
          kind: 'commit',
          data: {
            phase: 'rollback',
            gitrepo: gitrepo.name,
            branch: forward.branch,
            commit: made.commit,
            added,
            modified,
            deleted,
          },
        });
      },
    });
    commits.set(tree, commit);
  }
  return commits;
}

const NONE = { added: 0, modified: 0, deleted: 0, files: [] };

/** Where the branch is to end: at what it had before the deployment, unless others have committed since. */
async function restingTree(
  { database: { db }, depot }: JobDependencies,
  { deployment: { applicationId } }: PhaseWork,
  { forward, recorded, trees }: BranchRollback,
): Promise<OldTree> {
  const withBuild = async (tree: string): Promise<OldTree> => {
    const known = trees.find((one) => one.tree === tree);
    if (known !== undefined) return known;
    if (tree === EMPTY_TREE) return { tree, buildId: null };
    return { tree, buildId: await findBuildOfTree(db, applicationId, tree) };
  };
  const begun = recorded.find(({ commit }) => commit === '');
  if (begun !== undefined) return withBuild(begun.tree);
  const head = await findBranch(db, forward.gitrepoId, forward.branch);
  if (head === null) throw gone(forward);
  const { added, modified, deleted } = forward.changedFiles;
  const isOurs = head.headCommit === forward.commit && added + modified + deleted > 0;
  if (!isOurs) return { tree: head.headTree, buildId: head.committedBuildId };
  const parent = await depot.parentOf(applicationId, forward.commit);
  return withBuild(parent === null ? EMPTY_TREE : await depot.treeOf(applicationId, parent));
}

/** The trees of servers by name, so that it is always the same order, and the one to end at last. */
function inOrder(trees: readonly OldTree[], last: OldTree): OldTree[] {
  const others = trees.filter(({ tree }) => tree !== last.tree);
  return [...others.sort((a, b) => (a.tree < b.tree ? -1 : 1)), last];
}

function commitMessage({ id, buildName, username }: PhaseWork['deployment']): string {
  return [
    `Roll back ${buildName}`,
    '',
    `Muster-Rollback: ${id}`,
    `Muster-User: ${username}`,
    '',
  ].join('\n');
}

/** When the rollback was decided: ids are UUIDs of version 7, which begin with the time. */
function startOf({ batches, deployment }: PhaseWork): Date {
  const id = batches[0]?.batch.id ?? deployment.id;
  return new Date(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16));
}

function gone({ gitrepoName, branch }: CommitRow): AppError {
  return new AppError(
    'conflict',
    `Branch \`${branch}\` of gitrepo \`${gitrepoName}\` was removed, so what servers had cannot be put back from it.`,
  );
}
