import type { PreviewedPackage } from '../depot/packages.ts';
import type { TreeDiff, TreeFile } from '../depot/trees.ts';
import { MASTER_PACKAGE } from '../domain/package-map.ts';
import { getBuild, requirePackage } from './builds.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
import { requirePackageMap } from './package-maps.ts';

export type PackageFile = TreeFile;
export type PackagePreview = PreviewedPackage;

/** A package of a build, by names. */
export interface PackageName {
  readonly applicationName: string;
  readonly build: string;
  readonly package: string;
}

/**
 * Opens the list of a package's files, in the order of the bytes of their paths. It is read while it is consumed,
 * however long it is, and nothing stays behind if it is left early.
 * @param after the path after which it begins; there need be no such file
 * @throws {AppError} `not_found` (also for a package), `conflict` if the build is not stored
 */
export async function openPackageFiles(
  context: ServiceContext,
  wanted: PackageName,
  after: string | undefined,
): Promise<AsyncIterable<PackageFile>> {
  const build = await getBuild(context, wanted.applicationName, wanted.build);
  const { tree } = requirePackage(build, wanted.package);
  const files = context.depot.listFiles(build.applicationId, tree);
  return after === undefined ? files : following(files, after);
}

/**
 * One page of that list.
 * @throws {AppError} as `openPackageFiles`
 */
export async function listPackageFiles(
  context: ServiceContext,
  wanted: PackageName,
  page: { limit: number; after: string | undefined },
): Promise<PageOf<PackageFile>> {
  const files: PackageFile[] = [];
  for await (const file of await openPackageFiles(context, wanted, page.after)) {
    files.push(file);
    if (files.length > page.limit) break;
  }
  return toPage(files, page.limit, ({ path }) => path);
}

/**
 * What turns one package into the package of the same name of another build.
 * @throws {AppError} `not_found` (also for a package), `conflict` if one of the builds is not stored
 */
export async function diffBuilds(
  context: ServiceContext,
  to: PackageName,
  fromBuild: string,
): Promise<TreeDiff> {
  const build = await getBuild(context, to.applicationName, to.build);
  const from = await getBuild(context, to.applicationName, fromBuild);
  return context.depot.diffTrees({
    applicationId: build.applicationId,
    from: requirePackage(from, to.package).tree,
    to: requirePackage(build, to.package).tree,
  });
}

/**
 * What each package of a package map would hold of a build. Nothing is stored.
 * @throws {AppError} `not_found`, `conflict` if the build is not stored, `package_map_conflict`
 */
export async function previewPackageMap(
  context: ServiceContext,
  applicationName: string,
  wanted: { packageMap: string; build: string },
): Promise<Record<string, PackagePreview>> {
  const build = await getBuild(context, applicationName, wanted.build);
  const map = await requirePackageMap(context.database.db, build.applicationId, wanted.packageMap);
  const { tree } = requirePackage(build, MASTER_PACKAGE);
  return context.depot.previewPackages({
    applicationId: build.applicationId,
    tree,
    packages: map.packages,
  });
}

async function* following(
  files: AsyncIterable<PackageFile>,
  after: string,
): AsyncGenerator<PackageFile> {
  const bytes = Buffer.from(after);
  for await (const file of files) {
    if (Buffer.compare(Buffer.from(file.path), bytes) > 0) yield file;
  }
}
