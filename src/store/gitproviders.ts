import { AppError } from '../domain/errors.ts';
import type { GitproviderKind } from '../domain/gitprovider.ts';
import { type Db, insertUnique } from './database.ts';
import type { Gitprovider } from './generated/client.ts';
import { byName, type Page } from './paging.ts';

export type GitproviderRow = Gitprovider;

export function listGitproviders(db: Db, page: Page): Promise<GitproviderRow[]> {
  return db.gitprovider.findMany(byName(page));
}

export function findGitprovider(db: Db, name: string): Promise<GitproviderRow | null> {
  return db.gitprovider.findUnique({ where: { name } });
}

/** @throws {AppError} `already_exists` */
export function insertGitprovider(
  db: Db,
  gitprovider: {
    name: string;
    kind: GitproviderKind;
    url: string | null;
    authSealed: Uint8Array<ArrayBuffer>;
  },
): Promise<GitproviderRow> {
  return insertUnique(
    db.gitprovider.create({ data: gitprovider }),
    () =>
      new AppError(
        'already_exists',
        `Git provider \`${gitprovider.name}\` exists already. Nothing was changed.`,
      ),
  );
}

export async function deleteGitprovider(db: Db, id: string): Promise<void> {
  await db.gitprovider.delete({ where: { id } });
}

/** The gitrepos at a provider, as `application/gitrepo`. */
export async function findGitproviderUses(db: Db, id: string): Promise<string[]> {
  const gitrepos = await db.gitrepo.findMany({
    where: { gitproviderId: id },
    select: { name: true, application: { select: { name: true } } },
    orderBy: [{ application: { name: 'asc' } }, { name: 'asc' }],
  });
  return gitrepos.map((gitrepo) => `${gitrepo.application.name}/${gitrepo.name}`);
}
