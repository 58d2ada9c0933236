import { AppError } from '../domain/errors.ts';
import type { FreezeWindow } from '../domain/freeze-window.ts';
import { type Db, insertUnique } from './database.ts';
import type { FreezeWindow as FreezeWindowRow } from './generated/client.ts';
import type { Page } from './paging.ts';

export type { FreezeWindowRow };

/** Freeze windows of an environment by name, one more than asked to see whether there are more. */
export function listFreezeWindows(
  db: Db,
  environment: string,
  page: Page,
): Promise<FreezeWindowRow[]> {
  return db.freezeWindow.findMany({
    where: { environment, ...(page.after === undefined ? {} : { name: { gt: page.after } }) },
    orderBy: { name: 'asc' },
    ...(page.limit === undefined ? {} : { take: page.limit + 1 }),
  });
}

/** All freeze windows of some environments. */
export function findFreezeWindows(
  db: Db,
  environments: readonly string[],
): Promise<FreezeWindowRow[]> {
  return db.freezeWindow.findMany({ where: { environment: { in: [...environments] } } });
}

export function findFreezeWindow(
  db: Db,
  environment: string,
  name: string,
): Promise<FreezeWindowRow | null> {
  return db.freezeWindow.findUnique({ where: { environment_name: { environment, name } } });
}

/** @throws {AppError} `already_exists` */
export function insertFreezeWindow(db: Db, window: FreezeWindow): Promise<FreezeWindowRow> {
  return insertUnique(
    db.freezeWindow.create({ data: window }),
    () =>
      new AppError(
        'already_exists',
        `Environment \`${window.environment}\` has a freeze window \`${window.name}\` already; choose another name, or delete that one first.`,
        { details: { environment: window.environment, freeze_window: window.name } },
      ),
  );
}

export async function deleteFreezeWindow(db: Db, id: string): Promise<void> {
  await db.freezeWindow.delete({ where: { id } });
}

/** Has the deployments looked at now that a freeze of an environment holds back. @returns the ids of their jobs */
export async function wakeFrozen(tx: Db, environment: string): Promise<string[]> {
  const rows = await tx.$queryRaw<{ id: string }[]>`
    update jobs set run_at = now()
     where kind = 'run_deployment' and status in ('queued', 'running') and data->>'deploymentId' in (
       select id::text from deployments
        where status in ('queued', 'running')
          and waiting_for->>'kind' = 'freeze' and waiting_for->>'environment' = ${environment})
     returning id::text`;
  return rows.map(({ id }) => id);
}
