import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { uploadsDirectory } from '../depot/upload-spool.ts';
import type { ArchiveType } from '../domain/archive-entry.ts';
import { AppError, type ErrorBody } from '../domain/errors.ts';
import { MASTER_PACKAGE } from '../domain/package-map.ts';
import {
  type BuildRow,
  failStoringBuild,
  findBuildById,
  finishStoringBuild,
  lockBuild,
  type StoredPackage,
} from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import { findPackageMapById } from '../store/package-maps.ts';
import type { JobDependencies } from './dependencies.ts';
import type { JobContext, JobHandler } from './handler.ts';

/** How often progress is told while an archive is read. */
const PROGRESS_MS = 1000;

/** Makes a build of an uploaded archive: its tree in the depot, and the packages of the package map. */
export function storeBuildHandler(dependencies: JobDependencies): JobHandler<'store_build'> {
  const { config, database } = dependencies;
  const archiveOf = (upload: string): string =>
    join(uploadsDirectory(config.dataDirectory), upload);
  return {
    run: async ({ buildId, upload, packageMapId }, context) => {
      const build = await findBuildById(database.db, buildId);
      if (build === null || build.state === 'stored') {
        // Deleted meanwhile, or stored by a worker that died before it could say so.
        await rm(archiveOf(upload), { force: true });
        return { outcome: 'succeeded', result: summaryOf(build) };
      }
      const result = await storeArchive(dependencies, context, {
        build,
        archivePath: archiveOf(upload),
        packageMapId,
      });
      await rm(archiveOf(upload), { force: true });
      return { outcome: 'succeeded', result };
    },
    failed: (tx, { buildId }, error) => forgetArchive(dependencies, tx, { buildId, error }),
    // Not before: until it is recorded that it failed, the job may be begun anew, and needs the archive.
    afterEnd: async ({ buildId, upload }) => {
      await rm(archiveOf(upload), { force: true });
      await clearFailed(dependencies, buildId);
    },
  };
}

/**
 * Makes a build of an archive that lies in the spool: its tree in the depot, its packages, and the row.
 * @returns what the job has to tell at its end
 */
export async function storeArchive(
  dependencies: JobDependencies,
  context: JobContext,
  from: { build: BuildRow; archivePath: string; packageMapId: string | null },
): Promise<unknown> {
  const { config, database, depot } = dependencies;
  const { build, archivePath, packageMapId } = from;
  const { id: buildId, applicationId } = build;
  await depot.createRepository(applicationId);
  const master = await depot.ingestBuild({
    applicationId,
    buildId,
    archivePath,
    fileType: archiveTypeOf(build),
    limits: {
      maxEntries: config.upload.maxEntries,
      maxUnpackedBytes: config.upload.maxUnpackedBytes,
    },
    signal: context.signal,
    onProgress: throttled((progress) => context.emit('progress', progress)),
  });
  await context.emit('archive_read', {
    files: master.files,
    bytes: master.bytes,
    empty_directories: master.emptyDirectories,
    case_collisions: master.caseCollisions,
  });
  const packages = await cutPackages(dependencies, context, {
    build,
    tree: master.tree,
    packageMapId,
  });
  const stored = [{ name: MASTER_PACKAGE, ...master }, ...packages];
  const isFinished = await context.transaction((tx) => finishStoringBuild(tx, buildId, stored));
  const now = await findBuildById(database.db, buildId);
  if (isFinished || now?.state === 'stored') return summaryOf(now);
  if (now !== null) {
    throw new AppError(
      'conflict',
      `Build \`${build.name}\` was given up while it was being stored. Upload it again.`,
    );
  }
  await depot.deleteBuild(applicationId, buildId);
  throw new AppError(
    'conflict',
    `Build \`${build.name}\` was deleted while it was being stored, so nothing of it is kept. Create it again to upload it.`,
  );
}

/** Makes a build one that may be uploaded again, in the transaction that ends the job which could not store it. */
export async function forgetArchive(
  { depot }: JobDependencies,
  tx: Db,
  { buildId, error }: { buildId: string; error: ErrorBody },
): Promise<void> {
  await failStoringBuild(tx, buildId, error);
  const build = await findBuildById(tx, buildId);
  // So that upkeep comes by and drops what is left, even if this worker dies before it can.
  if (build?.state === 'failed') await depot.noteGarbage(build.applicationId);
}

/** Removes from the depot what a build that could not be stored has left there; for when that is recorded. */
export async function clearFailed(
  { database, depot }: JobDependencies,
  buildId: string,
): Promise<void> {
  await database.transaction(async (tx) => {
    // Whoever uploads it again waits for this, so that nothing of the new upload is removed.
    const build = await lockBuild(tx, buildId);
    // A build that got stored before something else went wrong keeps what it has.
    if (build?.state === 'failed') await depot.deleteBuild(build.applicationId, buildId);
  });
}

async function cutPackages(
  { database, depot }: JobDependencies,
  context: JobContext,
  from: { build: BuildRow; tree: string; packageMapId: string | null },
): Promise<StoredPackage[]> {
  if (from.packageMapId === null) return [];
  const map = await findPackageMapById(database.db, from.packageMapId);
  if (map === null) {
    throw new AppError(
      'conflict',
      'The package map was deleted before the build was stored. Upload the build again.',
    );
  }
  const cut = await depot.cutPackages({
    applicationId: from.build.applicationId,
    buildId: from.build.id,
    tree: from.tree,
    packages: map.packages,
    signal: context.signal,
  });
  const packages: StoredPackage[] = [];
  for (const [name, { tree, files, bytes, unmatchedPatterns }] of Object.entries(cut)) {
    packages.push({ name, tree, files, bytes });
    await context.emit('package_cut', { package: name, files, bytes });
    for (const pattern of unmatchedPatterns) {
      await context.emit('warning', {
        package: name,
        pattern,
        message: `Pattern \`${pattern}\` of package \`${name}\` matches no file of the build.`,
      });
    }
  }
  return packages;
}

/** Tells of progress now and then. */
export function throttled<T>(tell: (progress: T) => Promise<void>): (progress: T) => void {
  let last = Date.now();
  return (progress) => {
    if (Date.now() - last < PROGRESS_MS) return;
    last = Date.now();
    // Progress is a courtesy: that it could not be told must not fail the upload.
    tell(progress).catch(() => {});
  };
}

/** The type that the build's row names. @throws {AppError} `internal` */
export function archiveTypeOf({ fileType }: BuildRow): ArchiveType {
  if (fileType === 'zip' || fileType === 'tar.gz' || fileType === 'tar.bz2') return fileType;
  throw new AppError(
    'internal',
    `The build's row names the file type ${fileType}, which Muster does not read.`,
  );
}

/** What a job that stored a build tells at its end. */
export function summaryOf(build: BuildRow | null): unknown {
  if (build === null) return { deleted: true };
  return {
    build: build.name,
    packages: Object.fromEntries(
      build.packages.map((p) => [
        p.name,
        { files: p.fileCount, bytes: Number(p.sizeBytes), tree: p.tree },
      ]),
    ),
  };
}
