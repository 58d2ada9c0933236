import type { DepotWriter } from '../../depot/depot.ts';
import type { Remote } from '../../depot/remotes.ts';
import { summarizeChanges } from '../../domain/changed-files.ts';
import type { ChangedFiles } from '../../domain/deployment-options.ts';
import { AppError } from '../../domain/errors.ts';
import type { Db } from '../../store/database.ts';
import {
  type GitrepoBranchRow,
  type GitrepoRow,
  moveHead,
  takeInHead,
} from '../../store/gitrepos.ts';
import type { JobDependencies } from '../dependencies.ts';
import { COMMIT_AUTHOR, ensureBranch, fetchHead } from '../gitrepo-branch.ts';
import { findRemote, withPatience } from '../gitrepo-remote.ts';
import type { JobContext } from '../handler.ts';
import { holdLeases, pathLeaseSeconds } from '../hold-leases.ts';
import { pause } from '../pause.ts';

/** A head that others keep moving is tried this often. */
const MAX_RACES = 20;
const LEASE_RETRY_MS = 250;

/** A tree that is to become the head of a branch. */
export interface CommitOrder {
  readonly gitrepo: GitrepoRow;
  readonly branch: string;
  readonly tree: string;
  /** The build that the tree is of, or null before the first one. */
  readonly buildId: string | null;
  readonly message: string;
  readonly date: Date;
  /** Writes down what was committed, in the transaction that moves the head. */
  readonly record: (tx: Db, made: MadeCommit) => Promise<void>;
}

export interface MadeCommit {
  readonly commit: string;
  /** Against the head before. */
  readonly changedFiles: ChangedFiles;
}

/**
 * Commits a tree to a branch: pushes it where the gitrepo has a provider, then moves the head by compare-and-swap.
 * The commit is made of rows alone, so doing it again makes and pushes the same one. The same tree as the head: no new
 * commit.
 *
 * Pushed first, so that Muster never has a head that the provider refused. What others pushed there is gone on from.
 * @throws {AppError} `gitprovider_refused` with the provider's words, `gitprovider_unreachable`, `gitrepo_diverged`
 */
export async function commitToBranch(
  dependencies: JobDependencies,
  context: JobContext,
  order: CommitOrder,
): Promise<MadeCommit> {
  const remote = await findRemote(dependencies, order.gitrepo.id);
  if (remote === null) return commitWhereHeadIs(dependencies, context, { ...order, remote });
  // One after the other: two that push at once would each take the other's commit for a stranger's.
  const request = {
    keys: [`gitrepo:${order.gitrepo.id}:${order.branch}`],
    holder: `job:${context.jobId}`,
    leaseSeconds: pathLeaseSeconds(dependencies.config),
    signal: context.signal,
  };
  for (;;) {
    const done = await holdLeases(dependencies.database, request, async ({ lost: signal }) => ({
      value: await commitWhereHeadIs(dependencies, { ...context, signal }, { ...order, remote }),
      keep: false,
    }));
    if (done.held) return done.value;
    await pause(LEASE_RETRY_MS, context.signal);
    context.signal.throwIfAborted();
  }
}

async function commitWhereHeadIs(
  dependencies: JobDependencies,
  context: JobContext,
  order: RemoteOrder,
): Promise<MadeCommit> {
  const { gitrepo, branch } = order;
  const { applicationId } = gitrepo;
  for (let race = 0; race < MAX_RACES; race += 1) {
    const head = await ensureBranch(dependencies, gitrepo, branch, context.signal);
    const request = { applicationId, signal: context.signal };
    const made = await dependencies.depot.write(request, (writer, signal) =>
      commitOnto(dependencies, { ...context, signal }, { ...order, writer, head }),
    );
    if (made !== null) return made;
  }
  throw new AppError(
    'conflict',
    `Others kept moving the head of gitrepo \`${gitrepo.name}\`. Deploy again when they have ended.`,
    { retryable: true },
  );
}

/** An order, and where the branch is at its git server. */
type RemoteOrder = CommitOrder & { readonly remote: Remote | null };

/** An order for a branch that is at this head; what is made of it is written by this writer. */
type HeadOrder = RemoteOrder & { readonly writer: DepotWriter; readonly head: GitrepoBranchRow };

/** @returns null if the head has moved, so that the commit must be made anew */
async function commitOnto(
  dependencies: JobDependencies,
  context: JobContext,
  order: HeadOrder,
): Promise<MadeCommit | null> {
  const { gitrepo, branch, tree, buildId, remote, writer, head } = order;
  const { id: gitrepoId, applicationId } = gitrepo;
  const made = await makeCommit(dependencies, order);
  const { commit } = made;
  if (
    remote !== null &&
    !(await bringToProvider(dependencies, context, { ...order, remote, commit }))
  ) {
    return null;
  }
  context.signal.throwIfAborted();
  // Before the row names it, so that a commit in a row is never garbage.
  await writer.keepHead({ applicationId, gitrepoId, branch, commit, parent: head.headCommit });
  const moved = await context.transaction(async (tx) => {
    const won = await moveHead(tx, {
      gitrepoId,
      branch,
      from: head.headCommit,
      to: { commit, tree, buildId },
    });
    if (won) await order.record(tx, made);
    return won;
  });
  return moved ? made : null;
}

async function makeCommit(
  { depot }: JobDependencies,
  { gitrepo: { applicationId }, tree, message, date, writer, head }: HeadOrder,
): Promise<MadeCommit> {
  const difference = await depot.diffTrees({ applicationId, from: head.headTree, to: tree });
  const commit =
    head.headTree === tree
      ? head.headCommit
      : await writer.commitTree({
          applicationId,
          tree,
          parent: head.headCommit,
          message,
          author: COMMIT_AUTHOR,
          date,
        });
  return { commit, changedFiles: summarizeChanges(difference) };
}

/**
 * Sees to it that the provider has a commit as the branch's head. Never by force: what is there is taken in if it leads
 * on from Muster's head, and told of if it does not.
 * @returns false if the head has moved, so that the commit must be made anew
 */
async function bringToProvider(
  dependencies: JobDependencies,
  context: JobContext,
  o: HeadOrder & { readonly remote: Remote; readonly commit: string },
): Promise<boolean> {
  const { database, depot } = dependencies;
  const { gitrepo, branch, remote, commit, writer } = o;
  const { signal } = context;
  const { applicationId, id: gitrepoId } = gitrepo;
  const from = o.head.headCommit;
  const known = { commit: from, tree: o.head.headTree };
  const there = await fetchHead(dependencies, writer, {
    gitrepo,
    branch,
    remote,
    known,
    signal,
  });
  // A worker that pushed it died before it could say so.
  if (there?.commit === commit) return true;
  if (there !== null && there.commit !== from) {
    if (await depot.isAncestor({ applicationId, ancestor: from, commit: there.commit })) {
      await writer.keepHead({ applicationId, gitrepoId, branch, commit: there.commit });
      await takeInHead(database.db, { gitrepoId, branch, from, to: there });
      await context.emit('head_taken_in', {
        gitrepo: gitrepo.name,
        branch,
        from,
        to: there.commit,
      });
      return false;
    }
    if (!(await depot.isAncestor({ applicationId, ancestor: there.commit, commit: from }))) {
      throw diverged(gitrepo.name, { branch, musterHead: from, providerHead: there.commit });
    }
  }
  const push = { applicationId, remote, branch, commit, signal };
  if ((await withPatience(signal, () => depot.pushCommit(push))) === 'moved') return false;
  await context.emit('pushed', { gitrepo: gitrepo.name, branch, commit, uri: remote.uri });
  return true;
}

function diverged(
  gitrepo: string,
  heads: { branch: string; musterHead: string; providerHead: string },
): AppError {
  const { branch, musterHead, providerHead } = heads;
  return new AppError(
    'gitrepo_diverged',
    `Branch \`${branch}\` of gitrepo \`${gitrepo}\` was rewritten at its provider: it is at ${providerHead} there, which does not lead on from Muster's ${musterHead}. Nothing was overwritten. Merge ${musterHead} into the branch at the provider (or put the branch back to it), then deploy again.`,
    {
      details: {
        gitrepo,
        branch,
        muster_head: musterHead,
        provider_head: providerHead,
      },
    },
  );
}
