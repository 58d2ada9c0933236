import { AppError } from '../domain/errors.ts';
import { type Db, insertUnique } from './database.ts';
import type { Gitprovider, Gitrepo, GitrepoBranch } from './generated/client.ts';
import { byName, type Page } from './paging.ts';

export type GitrepoRow = Gitrepo & {
  readonly keypair: { name: string } | null;
  readonly gitprovider: { name: string } | null;
  readonly branches: (GitrepoBranch & { committedBuild: { name: string } | null })[];
};
export type GitrepoBranchRow = GitrepoBranch;

const include = {
  keypair: { select: { name: true } },
  gitprovider: { select: { name: true } },
  branches: {
    orderBy: { updatedAt: 'desc' },
    include: { committedBuild: { select: { name: true } } },
  },
} as const;

export function listGitrepos(db: Db, applicationId: string, page: Page): Promise<GitrepoRow[]> {
  const { where, ...order } = byName(page);
  return db.gitrepo.findMany({ where: { applicationId, ...where }, ...order, include });
}

export function findGitrepo(
  db: Db,
  applicationId: string,
  name: string,
): Promise<GitrepoRow | null> {
  return db.gitrepo.findUnique({ where: { applicationId_name: { applicationId, name } }, include });
}

export function findGitrepoById(db: Db, id: string): Promise<GitrepoRow | null> {
  return db.gitrepo.findUnique({ where: { id }, include });
}

export function findGitreposById(db: Db, ids: readonly string[]): Promise<GitrepoRow[]> {
  return db.gitrepo.findMany({ where: { id: { in: [...ids] } }, include });
}

/** @throws {AppError} `already_exists` */
export function insertGitrepo(
  db: Db,
  gitrepo: {
    applicationId: string;
    name: string;
    existing: boolean;
    uri: string | null;
    gitproviderId: string | null;
    keypairId: string | null;
  },
): Promise<GitrepoRow> {
  return insertUnique(
    db.gitrepo.create({ data: gitrepo, include }),
    () =>
      new AppError(
        'already_exists',
        `Gitrepo \`${gitrepo.name}\` exists already. Nothing was changed.`,
      ),
  );
}

/** What it takes to reach a gitrepo's repository at a provider; its secrets are sealed. */
export interface GitrepoRemote {
  readonly name: string;
  readonly existing: boolean;
  readonly uri: string | null;
  readonly gitprovider: Gitprovider | null;
  readonly keypair: { readonly name: string; readonly privateKeySealed: Uint8Array } | null;
}

export function findGitrepoRemote(db: Db, id: string): Promise<GitrepoRemote | null> {
  return db.gitrepo.findUnique({
    where: { id },
    select: {
      name: true,
      existing: true,
      uri: true,
      gitprovider: true,
      keypair: { select: { name: true, privateKeySealed: true } },
    },
  });
}

/** Notes where a repository was created. */
export async function setGitrepoUri(db: Db, id: string, uri: string): Promise<void> {
  await db.gitrepo.updateMany({ where: { id }, data: { uri } });
}

/** Removes a gitrepo that has come to nothing: no branch, and nobody names it. @returns whether it did */
export async function deleteUnusedGitrepo(db: Db, id: string): Promise<boolean> {
  const { count } = await db.gitrepo.deleteMany({
    where: { id, branches: { none: {} }, gitdeploys: { none: {} } },
  });
  return count === 1;
}

export function findBranch(
  db: Db,
  gitrepoId: string,
  name: string,
): Promise<GitrepoBranchRow | null> {
  return db.gitrepoBranch.findUnique({ where: { gitrepoId_name: { gitrepoId, name } } });
}

/** Records the first commit of a branch. Does nothing if the branch exists: first commits are all alike. */
export async function insertBranch(
  db: Db,
  branch: { gitrepoId: string; name: string; headCommit: string; headTree: string },
): Promise<void> {
  await db.gitrepoBranch.createMany({ data: [branch], skipDuplicates: true });
}

/** Moves a head from `from` to `to`. False, and nothing changed, if the head is no longer at `from`. */
export async function moveHead(
  tx: Db,
  move: {
    gitrepoId: string;
    branch: string;
    from: string;
    to: { commit: string; tree: string; buildId: string | null };
  },
): Promise<boolean> {
  const { count } = await tx.gitrepoBranch.updateMany({
    where: { gitrepoId: move.gitrepoId, name: move.branch, headCommit: move.from },
    data: {
      headCommit: move.to.commit,
      headTree: move.to.tree,
      committedBuildId: move.to.buildId,
    },
  });
  return count === 1;
}

/**
 * Moves a head to a commit that came from the provider; the build last committed stays what it was. False, and nothing
 * changed, if the head is no longer at `from`.
 */
export async function takeInHead(
  db: Db,
  move: {
    gitrepoId: string;
    branch: string;
    from: string;
    to: { commit: string; tree: string };
  },
): Promise<boolean> {
  const { count } = await db.gitrepoBranch.updateMany({
    where: { gitrepoId: move.gitrepoId, name: move.branch, headCommit: move.from },
    data: { headCommit: move.to.commit, headTree: move.to.tree },
  });
  return count === 1;
}
