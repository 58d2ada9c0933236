import { AppError } from '../domain/errors.ts';
import { type Db, insertUnique } from './database.ts';
import type { Application } from './generated/client.ts';
import { byName, type Page } from './paging.ts';

export type ApplicationRow = Application;

export function listApplications(db: Db, page: Page): Promise<ApplicationRow[]> {
  return db.application.findMany(byName(page));
}

/** What permissions are decided by: the name of every application, with its id. */
export function listApplicationNames(db: Db): Promise<{ id: string; name: string }[]> {
  return db.application.findMany({ select: { id: true, name: true } });
}

export function findApplication(db: Db, name: string): Promise<ApplicationRow | null> {
  return db.application.findUnique({ where: { name } });
}

/** @throws {AppError} `already_exists` */
export function insertApplication(db: Db, name: string): Promise<ApplicationRow> {
  return insertUnique(
    db.application.create({ data: { name } }),
    () =>
      new AppError(
        'already_exists',
        `Application \`${name}\` exists already. Nothing was changed.`,
      ),
  );
}

/** @returns null if there is none */
export async function updateApplication(
  tx: Db,
  id: string,
  changes: { readonly autoCatchup?: boolean },
): Promise<ApplicationRow | null> {
  const [row] = await tx.application.updateManyAndReturn({ where: { id }, data: changes });
  return row ?? null;
}

/** Deletes the application and, by cascade, every row that belongs to it. */
export async function deleteApplication(db: Db, id: string): Promise<void> {
  await db.job.deleteMany({
    where: { applicationId: id, status: { notIn: ['queued', 'running'] } },
  });
  await db.deployment.deleteMany({ where: { applicationId: id } });
  await db.installation.deleteMany({ where: { gitdeploy: { applicationId: id } } });
  await db.gitdeploy.deleteMany({ where: { applicationId: id } });
  await db.application.delete({ where: { id } });
}

/** Serializes what must not happen to one application at the same time, until the transaction ends. */
export async function lockApplication(tx: Db, id: string): Promise<void> {
  await tx.$executeRaw`select pg_advisory_xact_lock(hashtextextended(${`application:${id}`}, 0))`;
}

export function findApplicationById(db: Db, id: string): Promise<ApplicationRow | null> {
  return db.application.findUnique({ where: { id } });
}
