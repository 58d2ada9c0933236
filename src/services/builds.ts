import type { Readable } from 'node:stream';
import { spoolUpload, uploadsDirectory } from '../depot/upload-spool.ts';
import type { ArchiveType } from '../domain/archive-entry.ts';
import { AppError } from '../domain/errors.ts';
import { normalizeBuildName } from '../domain/names.ts';
import { quoted } from '../domain/quoted.ts';
import { lockApplication } from '../store/applications.ts';
import * as store from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import type { Page } from '../store/paging.ts';
import { auditOf, recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { found, named, refuseInUse, requireApplication, SUGGESTION_PAGE } from './lookup.ts';
import { requirePackageMap } from './package-maps.ts';

export type Build = store.BuildRow;

export async function listBuilds(
  context: ServiceContext,
  applicationName: string,
  page: Page,
): Promise<PageOf<Build>> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return toPage(await store.listBuilds(db, application.id, page), page.limit, (b) => b.name);
}

/** @throws {AppError} `not_found` */
export async function getBuild(
  context: ServiceContext,
  applicationName: string,
  name: string,
): Promise<Build> {
  const { database } = context;
  const build = await store.findBuildOf(database, applicationName, name);
  return build ?? explainMissing(database.db, applicationName, name);
}

/** Says what of the two there is not. Should it be there by now, it is found. @throws {AppError} `not_found` */
async function explainMissing(db: Db, applicationName: string, name: string): Promise<Build> {
  const application = await requireApplication(db, applicationName);
  return requireBuild(db, application.id, name);
}

/** @throws {AppError} `not_found` */
export async function requireBuild(db: Db, applicationId: string, name: string): Promise<Build> {
  return found(await store.findBuild(db, applicationId, name), {
    kind: 'build',
    name,
    names: () => store.listBuilds(db, applicationId, SUGGESTION_PAGE),
  });
}

/** @throws {AppError} `not_found`, `invalid_input`, `already_exists` */
export async function createBuild(
  context: ServiceContext,
  caller: Caller,
  applicationName: string,
  input: { name: string; attributes: store.Attributes },
): Promise<{ build: Build; messages: readonly string[] }> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  const { name, messages } = normalizeBuildName(input.name);
  const build = await database.transaction(async (tx) => {
    const { attributes } = input;
    const made = await store.insertBuild(tx, { applicationId: application.id, name, attributes });
    await recordAudit(tx, caller, {
      action: 'build.create',
      application: applicationName,
      subject: name,
      after: { build_name: name, attributes },
    });
    return made;
  });
  return { build, messages };
}

/** @throws {AppError} `not_found` */
export async function replaceBuildAttributes(
  context: ServiceContext,
  caller: Caller,
  {
    applicationName,
    name,
    attributes,
  }: { applicationName: string; name: string; attributes: store.Attributes },
): Promise<Build> {
  const { database } = context;
  const build = { application: applicationName, name, attributes };
  const change = { action: 'build.change', application: applicationName, subject: name };
  const changed = await store.replaceBuildAttributes(database, build, auditOf(caller, change));
  if (changed !== null) return changed;
  await explainMissing(database.db, applicationName, name);
  // It was made a moment ago.
  return replaceBuildAttributes(context, caller, { applicationName, name, attributes });
}

export interface BuildUpload {
  readonly applicationName: string;
  readonly name: string;
  readonly fileType: ArchiveType;
  readonly packageMap?: string | undefined;
  /** Lower-case hexadecimal; checked if given. */
  readonly sha256?: string | undefined;
}

/**
 * Takes an upload: streams it to the spool, checks what can be checked on the way, and starts the job that makes
 * the build of it. Until that job has begun the build is as it was.
 * @param source.open gives the archive's bytes; called only once the upload is known to be welcome
 * @param source.onReceived told their SHA-256 once all are there, whatever becomes of them then
 * @throws {AppError} `not_found`, `build_already_stored`, `build_busy`, and what `spoolUpload` throws
 */
export async function uploadBuild(
  context: ServiceContext,
  caller: Caller,
  upload: BuildUpload,
  source: {
    readonly open: () => Promise<Readable>;
    readonly onReceived: (sha256: string) => void;
  },
): Promise<{ build: Build; job: Job }> {
  const { database } = context;
  const { build, packageMapId } = await expectUpload(context, upload);
  const spooled = await spoolUpload(await source.open(), {
    directory: uploadsDirectory(context.config.dataDirectory),
    maxBytes: context.config.upload.maxBytes,
    fileType: upload.fileType,
    sha256: upload.sha256,
    onReceived: source.onReceived,
  });
  const job = await database
    .transaction(async (tx) => {
      await startStoring(tx, build, spooled);
      const { fileType: file_type, sizeBytes: size_bytes, sha256 } = spooled;
      await recordAudit(tx, caller, {
        action: 'build.upload',
        application: upload.applicationName,
        subject: build.name,
        after: { file_type, size_bytes, sha256 },
      });
      return recordJob(tx, caller, {
        kind: 'store_build',
        data: { buildId: build.id, upload: spooled.file, packageMapId },
        applicationId: build.applicationId,
      });
    })
    .catch(async (error: unknown) => {
      // Only as long as no job has it.
      await spooled.discard();
      throw error;
    });
  await ringJob(context, job);
  return { build: await getBuild(context, upload.applicationName, upload.name), job };
}

/**
 * Checks that an upload to a build is welcome, before anything is read of it.
 * @throws {AppError} `not_found`, `build_already_stored`, `build_busy`
 */
export async function expectUpload(
  context: ServiceContext,
  upload: BuildUpload,
): Promise<{ build: Build; packageMapId: string | null }> {
  const { db } = context.database;
  const build = await getBuild(context, upload.applicationName, upload.name);
  refuseStored(build);
  if (upload.packageMap === undefined) return { build, packageMapId: null };
  const { id } = await named(
    'package_map',
    requirePackageMap(db, build.applicationId, upload.packageMap),
  );
  return { build, packageMapId: id };
}

/** Makes a build `storing`, unless another upload came first. @throws {AppError} `build_already_stored`, `build_busy` */
export async function startStoring(
  tx: Db,
  build: Build,
  upload: store.UploadedArchive,
): Promise<void> {
  if (await store.startStoringBuild(tx, build.id, upload)) return;
  refuseStored(await requireBuild(tx, build.applicationId, build.name));
  throw new AppError('build_busy', `Build \`${build.name}\` is being stored by another upload.`);
}

/**
 * Opens a package for download.
 * @throws {AppError} `not_found` (also for a package), `conflict` if the build is not stored
 */
export async function downloadPackage(
  context: ServiceContext,
  applicationName: string,
  wanted: { build: string; package: string; fileType: 'zip' | 'tar.gz' },
): Promise<{ archive: Readable; tree: string }> {
  const build = await getBuild(context, applicationName, wanted.build);
  const { tree } = requirePackage(build, wanted.package);
  return {
    tree,
    archive: await context.depot.writeArchive({
      applicationId: build.applicationId,
      tree,
      fileType: wanted.fileType,
      rootTime: build.storedAt ?? build.createdAt,
    }),
  };
}

/** @throws {AppError} `not_found`; `in_use` while servers run it or a deployment of it is under way */
export async function deleteBuild(
  context: ServiceContext,
  caller: Caller,
  applicationName: string,
  name: string,
): Promise<void> {
  const { database, depot, log } = context;
  const build = await getBuild(context, applicationName, name);
  if (build.state === 'storing') refuseStored(build);
  await database.transaction(async (tx) => {
    // A deployment of it that is just being planned holds the same lock.
    await lockApplication(tx, build.applicationId);
    refuseInUse(
      `Build \`${name}\``,
      { ...(await store.findBuildUses(tx, build.id)) },
      {
        advice:
          'Deploy another build there, or wait for the deployment; `cascade=true` does not take a build off servers.',
      },
    );
    if (!(await store.deleteBuildRow(tx, build.id))) throw beingStored(build);
    // So that upkeep drops what it keeps alive, even if this process dies before it can.
    await depot.noteGarbage(build.applicationId).catch((error: unknown) => {
      log.warn({ err: error }, 'a depot could not be marked for upkeep');
    });
    const { attributes, state, sha256 } = build;
    await recordAudit(tx, caller, {
      action: 'build.delete',
      application: applicationName,
      subject: name,
      before: { build_name: name, attributes, state, sha256 },
    });
  });
  // A build that was never uploaded may be of an application that has no depot yet.
  if (build.state !== 'created') {
    // The row is gone, so the objects are garbage: a failure here is a matter for the log.
    await depot.deleteBuild(build.applicationId, build.id).catch((error: unknown) => {
      log.warn({ build: name, err: error }, 'the objects of a deleted build could not be removed');
    });
  }
  log.info({ application: applicationName, build: name }, 'build deleted');
}

function refuseStored(build: Build): void {
  if (build.state === 'stored') {
    throw new AppError(
      'build_already_stored',
      `Build \`${build.name}\` is stored already, and a stored build never changes. Upload under a new build name.`,
    );
  }
  if (build.state === 'storing') throw beingStored(build);
}

function beingStored(build: Build): AppError {
  return new AppError(
    'build_busy',
    `Build \`${build.name}\` is being stored right now. Wait for its job to end.`,
  );
}

/** A package of a stored build. @throws {AppError} `not_found`, `conflict` if the build is not stored */
export function requirePackage(build: Build, name: string): Build['packages'][number] {
  if (build.state !== 'stored') {
    throw new AppError(
      'conflict',
      `Build \`${build.name}\` is not stored yet, so it has no packages. Upload it first.`,
    );
  }
  const found = build.packages.find((p) => p.name === name);
  if (found !== undefined) return found;
  throw new AppError(
    'not_found',
    `Build \`${build.name}\` has no package ${quoted(name)}; it has ${build.packages.map((p) => quoted(p.name)).join(', ')}.`,
  );
}
