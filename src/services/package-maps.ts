import { parseName } from '../domain/names.ts';
import { type PackageMapDefinition, validatePackageMap } from '../domain/package-map.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/package-maps.ts';
import type { Page } from '../store/paging.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, requireApplication, SUGGESTION_PAGE } from './lookup.ts';

export type PackageMap = store.PackageMapRow;

export async function listPackageMaps(
  context: ServiceContext,
  applicationName: string,
  page: Page,
): Promise<PageOf<PackageMap>> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return toPage(await store.listPackageMaps(db, application.id, page), page.limit, (m) => m.name);
}

/** @throws {AppError} `not_found` */
export async function getPackageMap(
  context: ServiceContext,
  applicationName: string,
  name: string,
): Promise<PackageMap> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return requirePackageMap(db, application.id, name);
}

/** @throws {AppError} `not_found` */
export async function requirePackageMap(
  db: Db,
  applicationId: string,
  name: string,
): Promise<PackageMap> {
  return found(await store.findPackageMap(db, applicationId, name), {
    kind: 'package map',
    name,
    names: () => store.listPackageMaps(db, applicationId, SUGGESTION_PAGE),
  });
}

/** @throws {AppError} `not_found`, `invalid_input`, `already_exists` */
export async function createPackageMap(
  context: ServiceContext,
  applicationName: string,
  map: { name: string; packages: PackageMapDefinition },
): Promise<PackageMap> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  validatePackageMap(map.packages);
  return store.insertPackageMap(db, {
    applicationId: application.id,
    name: parseName('package map', map.name),
    packages: map.packages,
  });
}

/** @throws {AppError} `not_found` */
export async function deletePackageMap(
  context: ServiceContext,
  applicationName: string,
  name: string,
): Promise<void> {
  const map = await getPackageMap(context, applicationName, name);
  await store.deletePackageMap(context.database.db, map.id);
}
