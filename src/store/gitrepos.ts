import { AppError } from '../domain/errors.ts';
import { type Db, insertUnique } from './database.ts';
import type { Gitrepo, GitrepoBranch } from './generated/client.ts';
import { byName, type Page } from './paging.ts';

export type GitrepoRow = Gitrepo & {
  readonly keypair: { name: string } | null;
  readonly branches: (GitrepoBranch & { committedBuild: { name: string } | null })[];
};
export type GitrepoBranchRow = GitrepoBranch;

const include = {
  keypair: { select: { name: true } },
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

/** @throws {AppError} `already_exists` */
export function insertGitrepo(
  db: Db,
  gitrepo: { applicationId: string; name: string; keypairId: string | null },
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

export async function deleteGitrepo(db: Db, id: string): Promise<void> {
  await db.gitrepo.delete({ where: { id } });
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
    to: { commit: string; tree: string; buildId: string };
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
