import { parseName } from '../domain/names.ts';
import { type PackageMapDefinition, validatePackageMap } from '../domain/package-map.ts';
import { lockApplication } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/package-maps.ts';
import type { Page } from '../store/paging.ts';
import { recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, refuseInUse, requireApplication, SUGGESTION_PAGE } from './lookup.ts';

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
  caller: Caller,
  applicationName: string,
  input: { name: string; packages: PackageMapDefinition },
): Promise<PackageMap> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  validatePackageMap(input.packages);
  const name = parseName('package map', input.name);
  return database.transaction(async (tx) => {
    const { packages } = input;
    const map = await store.insertPackageMap(tx, { applicationId: application.id, name, packages });
    await recordAudit(tx, caller, {
      action: 'packagemap.create',
      application: applicationName,
      subject: name,
      after: describePackageMap(map),
    });
    return map;
  });
}

/** @throws {AppError} `not_found`; `in_use` while an upload is to be cut by it */
export async function deletePackageMap(
  context: ServiceContext,
  caller: Caller,
  applicationName: string,
  name: string,
): Promise<void> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  await database.transaction(async (tx) => {
    // Who starts to store an upload holds the same lock.
    await lockApplication(tx, application.id);
    const map = await requirePackageMap(tx, application.id, name);
    refuseInUse(
      `Package map \`${name}\``,
      { jobs: await store.findCuttingJobs(tx, map.id) },
      { advice: 'Wait for the uploads that are to be cut by it.' },
    );
    await store.deletePackageMap(tx, map.id);
    await recordAudit(tx, caller, {
      action: 'packagemap.delete',
      application: applicationName,
      subject: name,
      before: describePackageMap(map),
    });
  });
}

/** A package map as the audit shows it. */
function describePackageMap({ name, packages }: PackageMap): Record<string, unknown> {
  return { name, packages };
}
