import type { DepotWriter } from '../depot/depot.ts';
import { EMPTY_TREE } from '../depot/git.ts';
import type { Remote } from '../depot/remotes.ts';
import { AppError } from '../domain/errors.ts';
import {
  findBranch,
  type GitrepoBranchRow,
  type GitrepoRow,
  insertBranch,
} from '../store/gitrepos.ts';
import { findRemote, type RemoteDependencies, withPatience } from './gitrepo-remote.ts';

/** Who Muster's commits are by. */
export const COMMIT_AUTHOR = { name: 'Muster', email: 'muster@localhost' } as const;

/** A gitrepo, as far as its branches need to know it. */
export type BranchOwner = Pick<GitrepoRow, 'id' | 'applicationId' | 'name' | 'createdAt'>;

/** No call to a git server lasts longer than its own limits, so work without a signal ends, too. */
const NEVER_ABORTED = new AbortController().signal;

/**
 * Finds a branch of a gitrepo, or begins it: at the head that the branch has at the provider, with its history; or, if
 * it is nowhere yet, as `beginBranch` does.
 * @throws {AppError} `gitprovider_refused`, `gitprovider_unreachable`, `host_key_changed`
 */
export async function ensureBranch(
  dependencies: RemoteDependencies,
  gitrepo: BranchOwner,
  branch: string,
  signal: AbortSignal = NEVER_ABORTED,
): Promise<GitrepoBranchRow> {
  const { database, depot } = dependencies;
  const present = await findBranch(database.db, gitrepo.id, branch);
  if (present !== null) return present;
  await depot.createRepository(gitrepo.applicationId);
  const remote = await findRemote(dependencies, gitrepo.id);
  if (remote === null) return beginBranch(dependencies, gitrepo, branch);
  const { applicationId } = gitrepo;
  const adopted = await depot.write({ applicationId, signal }, async (writer, held) => {
    const request = { gitrepo, branch, remote, known: null, signal: held };
    const head = await fetchHead(dependencies, writer, request);
    return head === null ? null : recordBranch(dependencies, writer, gitrepo, { branch, head });
  });
  return adopted ?? beginBranch(dependencies, gitrepo, branch);
}

/**
 * Begins a branch with a first commit without files, which is the same however often and by whomever it is made.
 * Whether it is at the provider is not looked at.
 */
export async function beginBranch(
  dependencies: RemoteDependencies,
  gitrepo: BranchOwner,
  branch: string,
): Promise<GitrepoBranchRow> {
  const { applicationId, name, createdAt } = gitrepo;
  const { depot } = dependencies;
  await depot.createRepository(applicationId);
  return depot.write({ applicationId }, async (writer) => {
    const commit = await writer.commitTree({
      applicationId,
      tree: EMPTY_TREE,
      parent: null,
      message: `Begin ${name}\n`,
      author: COMMIT_AUTHOR,
      date: createdAt,
    });
    const head = { commit, tree: EMPTY_TREE };
    return recordBranch(dependencies, writer, gitrepo, { branch, head });
  });
}

async function recordBranch(
  { database }: RemoteDependencies,
  writer: DepotWriter,
  { id: gitrepoId, applicationId, name }: BranchOwner,
  { branch, head }: { readonly branch: string; readonly head: Head },
): Promise<GitrepoBranchRow> {
  await writer.keepHead({ applicationId, gitrepoId, branch, commit: head.commit });
  await insertBranch(database.db, {
    gitrepoId,
    name: branch,
    headCommit: head.commit,
    headTree: head.tree,
  });
  const made = await findBranch(database.db, gitrepoId, branch);
  if (made === null) throw new AppError('conflict', `Gitrepo \`${name}\` was deleted meanwhile.`);
  return made;
}

/** A commit of the depot's, and its tree. */
export interface Head {
  readonly commit: string;
  readonly tree: string;
}

/**
 * Looks at the head of a branch at its git server, and brings it into the depot unless it is there. Nothing keeps it
 * alive yet: see `DepotWriter.keepHead`.
 * @param o.known a commit that need not be fetched; then nothing but its id is looked at
 * @returns null if the branch does not exist there
 */
export async function fetchHead(
  { depot }: RemoteDependencies,
  writer: DepotWriter,
  o: {
    readonly gitrepo: BranchOwner;
    readonly branch: string;
    readonly remote: Remote;
    readonly known: Head | null;
    readonly signal: AbortSignal;
  },
): Promise<Head | null> {
  const { branch, remote, known, signal } = o;
  const { applicationId } = o.gitrepo;
  const { heads } = await withPatience(signal, () =>
    depot.listRemoteHeads({ applicationId, remote, signal }),
  );
  const commit = heads.get(branch);
  if (commit === undefined) return null;
  if (commit === known?.commit) return known;
  const present = await depot.hasCommit(applicationId, commit);
  const fetched = present
    ? commit
    : await withPatience(signal, () =>
        writer.fetchBranch({ applicationId, remote, branch, signal }),
      );
  return { commit: fetched, tree: await depot.treeOf(applicationId, fetched) };
}
