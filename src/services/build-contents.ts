import type { PreviewedPackage } from '../depot/packages.ts';
import type { TreeDiff, TreeFile } from '../depot/trees.ts';
import { compareCodeUnits } from '../domain/code-unit-order.ts';
import { MASTER_PACKAGE } from '../domain/package-map.ts';
import type { Page } from '../store/paging.ts';
import { type Build, getBuild, requireBuild, requirePackage } from './builds.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
import { asBadInput, named, requireApplication } from './lookup.ts';
import { requirePackageMap } from './package-maps.ts';

export type Package = Build['packages'][number];
export type PackageFile = TreeFile;
export type PackagePreview = PreviewedPackage;

/** A package of a build, by names. */
export interface PackageName {
  readonly applicationName: string;
  readonly build: string;
  readonly package: string;
}

/**
 * The packages of a build by name; none until it is stored.
 * @throws {AppError} `not_found`
 */
export async function listPackages(
  context: ServiceContext,
  applicationName: string,
  { build: buildName, ...page }: Page & { readonly build: string },
): Promise<PageOf<Package>> {
  const { packages } = await getBuild(context, applicationName, buildName);
  const { after, limit } = page;
  const rest = [...packages]
    .sort((a, b) => compareCodeUnits(a.name, b.name))
    .filter(({ name }) => after === undefined || name > after);
  return toPage(rest, limit, ({ name }) => name);
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
 * @throws {AppError} `not_found`; `invalid_input` for an unknown `from` or package; `conflict` if one of the builds is
 *   not stored
 */
export async function diffBuilds(
  context: ServiceContext,
  to: PackageName,
  fromBuild: string,
): Promise<TreeDiff> {
  const build = await getBuild(context, to.applicationName, to.build);
  const from = await named('from', getBuild(context, to.applicationName, fromBuild));
  return context.depot.diffTrees({
    applicationId: build.applicationId,
    from: packageOfQuery(from, to.package).tree,
    to: packageOfQuery(build, to.package).tree,
  });
}

/**
 * What each package of a package map would hold of a build. Nothing is stored.
 * @throws {AppError} `not_found`; `invalid_input` for an unknown build; `conflict` if it is not stored;
 *   `package_map_conflict`
 */
export async function previewPackageMap(
  context: ServiceContext,
  applicationName: string,
  wanted: { packageMap: string; build: string },
): Promise<Record<string, PackagePreview>> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  const map = await requirePackageMap(db, application.id, wanted.packageMap);
  const build = await named('build_name', requireBuild(db, application.id, wanted.build));
  const { tree } = requirePackage(build, MASTER_PACKAGE);
  return context.depot.previewPackages({
    applicationId: build.applicationId,
    tree,
    packages: map.packages,
  });
}

/** In a query an unknown package is bad input, while in a path it would be 404. */
function packageOfQuery(build: Build, name: string): Package {
  try {
    return requirePackage(build, name);
  } catch (error) {
    throw asBadInput('package', error);
  }
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
