import { randomUUID } from 'node:crypto';
import type { Db } from './database.ts';

/** A tree that a package's row names. */
export interface PackageTreeRow {
  readonly buildId: string;
  readonly name: string;
  readonly tree: string;
}

/** A commit that a row names, and the branch it is of. */
export interface BranchCommitRow {
  readonly gitrepoId: string;
  readonly branch: string;
  readonly commit: string;
}

/**
 * Everything in an application's depot that its rows name: the packages of its builds, the heads of its gitrepos, what
 * was ever deployed from these, and what runs on servers. What is of a deleted gitrepo nobody can go back to.
 */
export async function listDepotRoots(
  db: Db,
  applicationId: string,
): Promise<{ trees: PackageTreeRow[]; commits: BranchCommitRow[] }> {
  const trees = await db.package.findMany({
    where: { build: { applicationId } },
    select: { buildId: true, name: true, tree: true },
  });
  const commits = await db.$queryRaw<BranchCommitRow[]>`
    select g.id::text as "gitrepoId", b.name as branch, b.head_commit as commit
      from gitrepos g join gitrepo_branches b on b.gitrepo_id = g.id
     where g.application_id = ${applicationId}::uuid
    union
    select g.id::text, c.branch, c.commit
      from gitrepos g join deployment_commits c on c.gitrepo_id = g.id
     where g.application_id = ${applicationId}::uuid
    union
    select d.gitrepo_id::text, d.branch, i.deployed_commit
      from gitdeploys d join installations i on i.gitdeploy_id = d.id
     where d.application_id = ${applicationId}::uuid`;
  return { trees, commits };
}

/** The builds and gitrepos of an application that may have refs in its depot. One that is being stored has some already. */
export async function listRefOwners(
  db: Db,
  applicationId: string,
): Promise<{ buildIds: string[]; gitrepoIds: string[] }> {
  const builds = await db.build.findMany({
    where: { applicationId, state: { in: ['storing', 'stored'] } },
    select: { id: true },
  });
  const gitrepos = await db.gitrepo.findMany({ where: { applicationId }, select: { id: true } });
  return { buildIds: builds.map(({ id }) => id), gitrepoIds: gitrepos.map(({ id }) => id) };
}

/** Who holds this takes things out of an application's depot; nothing may be taken into it meanwhile. */
export function depotLeaseKey(applicationId: string): string {
  return `depot:${applicationId}`;
}

/** Who holds this takes something into an application's depot, as one of many; nothing may be taken out meanwhile. */
export function depotWriterKey(applicationId: string): string {
  return `${depotLeaseKey(applicationId)}:${randomUUID()}`;
}

/** Who has a lease now, or null. */
export async function findLeaseHolder(db: Db, key: string): Promise<string | null> {
  const rows = await db.$queryRaw<{ holder: string }[]>`
    select holder from leases where key = ${key} and expires_at >= now()`;
  return rows[0]?.holder ?? null;
}

/** Whether somebody takes something into an application's depot at this moment. */
export async function hasDepotWriters(db: Db, applicationId: string): Promise<boolean> {
  const rows = await db.$queryRaw<{ key: string }[]>`
    select key from leases
     where starts_with(key, ${`${depotLeaseKey(applicationId)}:`}) and expires_at >= now() limit 1`;
  return rows.length > 0;
}

/** Removes the row of a writer's lease. Unlike others it is of no use afterwards: every writer has a key of its own. */
export async function deleteDepotWriter(db: Db, key: string): Promise<void> {
  await db.lease.deleteMany({ where: { key } });
}

/** Removes what writers left that died. One that only seemed dead is told so when it renews its lease. */
export async function deleteDeadDepotWriters(db: Db, applicationId: string): Promise<void> {
  await db.$executeRaw`
    delete from leases
     where starts_with(key, ${`${depotLeaseKey(applicationId)}:`}) and expires_at < now()`;
}

/** The files in the spool that jobs are yet to take. */
export async function listAwaitedUploads(db: Db): Promise<Set<string>> {
  const rows = await db.$queryRaw<{ file: string | null }[]>`
    select data->>'upload' as file from jobs
     where kind = 'store_build' and status in ('queued', 'running')`;
  return new Set(rows.flatMap(({ file }) => file ?? []));
}

/** Whether a job of this kind is waiting or under way for an application. */
export async function hasUnfinishedJob(
  db: Db,
  applicationId: string,
  kind: string,
): Promise<boolean> {
  const job = await db.job.findFirst({
    where: { applicationId, kind, status: { in: ['queued', 'running'] } },
    select: { id: true },
  });
  return job !== null;
}
