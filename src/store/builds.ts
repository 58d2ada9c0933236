import { z } from 'zod';
import { AppError, type ErrorBody } from '../domain/errors.ts';
import { auditInsert, jsonText, type NewAuditEvent } from './audit-events.ts';
import { type Db, insertUnique, type Statements } from './database.ts';
import { type Build, type Package, Prisma } from './generated/client.ts';
import { toJson } from './json.ts';
import { byName, type Page } from './paging.ts';

export type BuildRow = Build & { readonly packages: Package[] };

export const Attributes = z.record(z.string(), z.unknown());
export type Attributes = z.infer<typeof Attributes>;

/** What an upload that has reached the spool tells about itself; of one that is still to be fetched only the type is known. */
export interface UploadedArchive {
  readonly fileType: string;
  readonly sizeBytes: number | null;
  readonly sha256: string | null;
}

/** A package as the depot has cut it. */
export interface StoredPackage {
  readonly name: string;
  readonly tree: string;
  readonly files: number;
  readonly bytes: number;
}

const withPackages = { packages: { orderBy: { name: 'asc' } } } as const;

export function listBuilds(db: Db, applicationId: string, page: Page): Promise<BuildRow[]> {
  const { where, ...order } = byName(page);
  return db.build.findMany({ where: { applicationId, ...where }, ...order, include: withPackages });
}

export function findBuild(db: Db, applicationId: string, name: string): Promise<BuildRow | null> {
  return db.build.findUnique({
    where: { applicationId_name: { applicationId, name } },
    include: withPackages,
  });
}

export function findBuildById(db: Db, id: string): Promise<BuildRow | null> {
  return db.build.findUnique({ where: { id }, include: withPackages });
}

/** Reads a build and keeps others from changing it, an upload that is to begin included, until the transaction ends. */
export async function lockBuild(tx: Db, id: string): Promise<BuildRow | null> {
  await tx.$executeRaw`select 1 from builds where id = ${id}::uuid for update`;
  return findBuildById(tx, id);
}

/** @throws {AppError} `already_exists` */
export function insertBuild(
  db: Db,
  build: { applicationId: string; name: string; attributes: Attributes },
): Promise<BuildRow> {
  return insertUnique(
    db.build.create({
      data: { ...build, attributes: toJson(build.attributes) },
      include: withPackages,
    }),
    () =>
      new AppError(
        'already_exists',
        `Build \`${build.name}\` exists already. Nothing was changed.`,
      ),
  );
}

/** A build as `pg` reads it, with its packages. */
type RawBuild = Omit<Build, 'sizeBytes'> & {
  readonly sizeBytes: string | null;
  readonly packages: readonly (Omit<Package, 'buildId' | 'sizeBytes'> & { sizeBytes: string })[];
};

const rawBuild = Prisma.sql`
  id, application_id as "applicationId", name, attributes, state, file_type as "fileType",
  size_bytes as "sizeBytes", sha256, error, created_at as "createdAt", stored_at as "storedAt",
  array(select json_build_object('name', name, 'tree', tree, 'fileCount', file_count,
                                 'sizeBytes', size_bytes::text)
          from packages where build_id = builds.id order by name) as packages`;

/** A build by its application's name and its own. */
export async function findBuildOf(
  database: Statements,
  application: string,
  name: string,
): Promise<BuildRow | null> {
  const [row] = await database.statement<RawBuild>(Prisma.sql`
    select ${rawBuild} from builds
     where application_id = (select id from applications where name = ${application})
       and name = ${name}`);
  return row === undefined ? null : toBuildRow(row);
}

/**
 * Replaces a build's attributes and writes that down, both or neither.
 * @param build.name of it and of its application
 * @returns the build as it is then; null if there is none, and nothing is written
 */
export async function replaceBuildAttributes(
  database: Statements,
  build: { readonly application: string; readonly name: string; readonly attributes: Attributes },
  event: Omit<NewAuditEvent, 'before' | 'after'>,
): Promise<BuildRow | null> {
  const audit = auditInsert(
    event,
    {
      before: Prisma.sql`json_build_object('attributes', old)`,
      after: Prisma.sql`json_build_object('attributes', attributes)`,
    },
    Prisma.sql`from found, changed`,
  );
  const [row] = await database.statement<RawBuild>(Prisma.sql`
    with found as (
      select id as found_id, attributes as old from builds
       where application_id = (select id from applications where name = ${build.application})
         and name = ${build.name}
         for no key update),
    changed as (
      update builds set attributes = ${jsonText(build.attributes)}
        from found where id = found_id
      returning ${rawBuild}),
    audit as (${audit})
    select * from changed`);
  return row === undefined ? null : toBuildRow(row);
}

function toBuildRow({ sizeBytes, packages, ...build }: RawBuild): BuildRow {
  return {
    ...build,
    sizeBytes: sizeBytes === null ? null : BigInt(sizeBytes),
    packages: packages.map((each) => ({
      ...each,
      buildId: build.id,
      sizeBytes: BigInt(each.sizeBytes),
    })),
  };
}

/** Takes a build from `created` or `failed` to `storing`. False if it is in another state. */
export async function startStoringBuild(
  db: Db,
  id: string,
  upload: UploadedArchive,
): Promise<boolean> {
  const { count } = await db.build.updateMany({
    where: { id, state: { in: ['created', 'failed'] } },
    data: {
      state: 'storing',
      fileType: upload.fileType,
      sizeBytes: upload.sizeBytes,
      sha256: upload.sha256,
      error: Prisma.DbNull,
    },
  });
  return count === 1;
}

/** Writes down what a fetched upload turned out to be. */
export async function recordFetchedUpload(
  db: Db,
  id: string,
  { sizeBytes, sha256 }: UploadedArchive,
): Promise<void> {
  await db.build.updateMany({ where: { id, state: 'storing' }, data: { sizeBytes, sha256 } });
}

/** Takes a build from `storing` to `stored` with its packages. False if it is in another state. */
export async function finishStoringBuild(
  tx: Db,
  id: string,
  packages: readonly StoredPackage[],
): Promise<boolean> {
  const { count } = await tx.build.updateMany({
    where: { id, state: 'storing' },
    data: { state: 'stored', storedAt: new Date(), error: Prisma.DbNull },
  });
  if (count === 0) return false;
  await tx.package.createMany({
    data: packages.map((p) => ({
      buildId: id,
      name: p.name,
      tree: p.tree,
      fileCount: p.files,
      sizeBytes: p.bytes,
    })),
  });
  return true;
}

/** Takes a build from `storing` to `failed`; it may be uploaded again. */
export async function failStoringBuild(db: Db, id: string, error: ErrorBody): Promise<void> {
  await db.build.updateMany({
    where: { id, state: 'storing' },
    // But for the reason the build is as it was before the upload.
    data: {
      state: 'failed',
      error: toJson(error),
      fileType: null,
      sizeBytes: null,
      sha256: null,
    },
  });
}

/** Deletes a build, unless an upload of it is being stored at this moment. False then. */
export async function deleteBuildRow(db: Db, id: string): Promise<boolean> {
  const { count } = await db.build.deleteMany({ where: { id, state: { not: 'storing' } } });
  return count === 1;
}

/** Where a build is needed: the servers that run it, and the deployments under way. */
export async function findBuildUses(
  db: Db,
  id: string,
): Promise<{ servers: string[]; deployments: string[] }> {
  const installations = await db.installation.findMany({
    where: { deployedBuildId: id },
    select: { server: { select: { name: true } } },
    distinct: ['serverId'],
  });
  const deployments = await db.deployment.findMany({
    where: {
      buildId: id,
      status: { in: ['queued', 'preparing', 'running', 'paused', 'rolling_back'] },
    },
    select: { id: true },
  });
  return {
    servers: installations.map((i) => i.server.name).sort(),
    deployments: deployments.map((d) => d.id),
  };
}
