import { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import type { PackageMapDefinition } from '../domain/package-map.ts';
import { type Db, insertUnique } from './database.ts';
import type { PackageMap } from './generated/client.ts';
import { fromJson, toJson } from './json.ts';
import { byName, type Page } from './paging.ts';

const Packages: z.ZodType<PackageMapDefinition> = z.record(
  z.string(),
  z.object({
    patterns: z.array(z.string()),
    prefix: z.string().exactOptional(),
    remove_prefix: z.string().exactOptional(),
  }),
);

export type PackageMapRow = Omit<PackageMap, 'packages'> & {
  readonly packages: PackageMapDefinition;
};

const parsed = (row: PackageMap): PackageMapRow => ({
  ...row,
  packages: fromJson(Packages, row.packages),
});

export async function listPackageMaps(
  db: Db,
  applicationId: string,
  page: Page,
): Promise<PackageMapRow[]> {
  const { where, ...order } = byName(page);
  return (await db.packageMap.findMany({ where: { applicationId, ...where }, ...order })).map(
    parsed,
  );
}

export async function findPackageMap(
  db: Db,
  applicationId: string,
  name: string,
): Promise<PackageMapRow | null> {
  const row = await db.packageMap.findUnique({
    where: { applicationId_name: { applicationId, name } },
  });
  return row === null ? null : parsed(row);
}

/** @throws {AppError} `already_exists` */
export async function insertPackageMap(
  db: Db,
  map: { applicationId: string; name: string; packages: PackageMapRow['packages'] },
): Promise<PackageMapRow> {
  const row = await insertUnique(
    db.packageMap.create({ data: { ...map, packages: toJson(map.packages) } }),
    () =>
      new AppError(
        'already_exists',
        `Package map \`${map.name}\` exists already. Nothing was changed.`,
      ),
  );
  return parsed(row);
}

export async function deletePackageMap(db: Db, id: string): Promise<void> {
  await db.packageMap.delete({ where: { id } });
}

export async function findPackageMapById(db: Db, id: string): Promise<PackageMapRow | null> {
  const row = await db.packageMap.findUnique({ where: { id } });
  return row === null ? null : parsed(row);
}

/** The jobs under way that are to cut a build by a package map. */
export async function findCuttingJobs(db: Db, id: string): Promise<string[]> {
  const rows = await db.$queryRaw<{ id: string }[]>`
    select id::text from jobs
     where kind in ('store_build', 'fetch_build') and status in ('queued', 'running')
       and data->>'packageMapId' = ${id}
     order by id`;
  return rows.map((row) => row.id);
}
