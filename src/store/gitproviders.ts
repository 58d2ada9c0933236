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

export function updateGitprovider(
  tx: Db,
  id: string,
  values: { url: string | null; authSealed: Uint8Array<ArrayBuffer> },
): Promise<GitproviderRow> {
  return tx.gitprovider.update({ where: { id }, data: values });
}

/** Keeps others from changing a git provider, and from making gitrepos at it, until the transaction ends. */
export async function lockGitprovider(tx: Db, name: string): Promise<void> {
  await tx.$executeRaw`select 1 from gitproviders where name = ${name} for update`;
}

/** Where the repositories at a provider are, those that are there already. */
export async function listGitproviderUris(db: Db, id: string): Promise<{ uri: string }[]> {
  const gitrepos = await db.gitrepo.findMany({
    where: { gitproviderId: id },
    select: { uri: true },
  });
  return gitrepos.flatMap(({ uri }) => (uri === null ? [] : [{ uri }]));
}
