import type { Drift } from '../domain/census.ts';
import type { Db } from './database.ts';
import { NO_HEAD } from './installations.ts';
import type { DriftChange } from './server-notices.ts';

/** An installation with what is needed to look at it and to judge what is seen. */
export interface ObservedRow {
  readonly id: string;
  readonly serverId: string;
  readonly gitdeployId: string;
  readonly gitdeploy: string;
  readonly application: string;
  readonly gitrepoId: string;
  readonly branch: string;
  readonly path: string;
  readonly headCommit: string;
  readonly deployedCommit: string;
  readonly deployedBuildId: string | null;
  readonly deploymentId: string | null;
  /** Of the path's last lease; null if nobody ever had one. */
  readonly fence: bigint | null;
  /** Whether somebody works on it at this moment, so that it must be left alone. */
  readonly isBusy: boolean;
}

/** The installations of a server, sorted by path. */
export function listObserved(db: Db, serverId: string): Promise<ObservedRow[]> {
  return db.$queryRaw`
    select i.id::text as "id", i.server_id::text as "serverId", g.id::text as "gitdeployId", g.name as "gitdeploy",
           a.name as "application", g.gitrepo_id::text as "gitrepoId", g.branch, g.path,
           i.head_commit as "headCommit", i.deployed_commit as "deployedCommit",
           i.deployed_build_id::text as "deployedBuildId", i.deployment_id::text as "deploymentId",
           l.fence, coalesce(l.expires_at >= now(), false) as "isBusy"
      from installations i
      join gitdeploys g on g.id = i.gitdeploy_id
      join applications a on a.id = g.application_id
      left join leases l on l.key = i.server_id::text || ':' || g.path
     where i.server_id = ${serverId}::uuid
     order by g.path collate "C"`;
}

/** Servers, by id after `after`, of which some installation was not looked at for that long. */
export async function listServersToObserve(
  db: Db,
  page: { olderThanSeconds: number; after: string | null; limit: number },
): Promise<string[]> {
  const rows = await db.$queryRaw<{ id: string }[]>`
    select s.id::text as "id" from servers s
     where (${page.after}::uuid is null or s.id > ${page.after}::uuid)
       and exists (select 1 from installations i where i.server_id = s.id
                    and (i.observed_at is null
                         or i.observed_at < now() - make_interval(secs => ${page.olderThanSeconds})))
     order by s.id limit ${page.limit}`;
  return rows.map(({ id }) => id);
}

/** The build that a commit of a gitrepo is of, and the deployment that made it so. */
export interface CommitOrigin {
  readonly buildId: string | null;
  readonly deploymentId: string;
}

/**
 * Finds out what a commit is. One commit may be of several builds, which then have the same files: the one counts
 * that was last brought to this very place, else the last one anywhere.
 * @returns null if Muster did not make the commit
 */
export async function findCommitOrigin(
  db: Db,
  of: Pick<ObservedRow, 'gitrepoId' | 'serverId' | 'gitdeployId'> & { commit: string },
): Promise<CommitOrigin | null> {
  const [origin] = await db.$queryRaw<CommitOrigin[]>`
    with steps_to as (
      select s.deployment_id, coalesce(s.to_build_id, case when b.phase = 'forward' then d.build_id end) as build_id,
             s.status = 'succeeded' and s.server_id = ${of.serverId}::uuid as was_here, s.started_at as at
        from steps s
        join batches b on b.id = s.batch_id
        join deployments d on d.id = s.deployment_id
        join gitdeploys g on g.id = s.gitdeploy_id
       where s.to_commit = ${of.commit} and g.gitrepo_id = ${of.gitrepoId}::uuid
         and d.id in (select deployment_id from deployment_commits
                       where gitrepo_id = ${of.gitrepoId}::uuid and commit = ${of.commit})),
    committed as (
      select c.deployment_id, d.build_id, false as was_here, null::timestamptz as at
        from deployment_commits c
        join deployments d on d.id = c.deployment_id
       where c.gitrepo_id = ${of.gitrepoId}::uuid and c.commit = ${of.commit} and c.phase = 'forward')
    select b.id::text as "buildId", o.deployment_id::text as "deploymentId"
      from (select * from steps_to union all select * from committed) o
      left join builds b on b.id = o.build_id
     order by o.was_here desc, o.at desc nulls last, o.deployment_id desc
     limit 1`;
  return origin ?? null;
}

/** What was seen of an installation. */
export interface Observation {
  readonly drift: Drift;
  /** What HEAD is; null if the clone is gone. */
  readonly head: string | null;
  /** The newest commit of the gitrepo that is in it; the one before if there is none. */
  readonly commit: string;
  /** Of what HEAD is; null if Muster does not know it. */
  readonly buildId: string | null;
  readonly deploymentId: string | null;
}

/**
 * Records what was seen, unless somebody has worked on the installation since its row was read: what was seen may
 * then be of a moment in between. `deployed_at` changes only if HEAD is another one than when it was looked at last.
 * @returns what that changes; null if it was not recorded
 */
export async function recordObservation(
  tx: Db,
  row: ObservedRow,
  seen: Observation,
): Promise<DriftChange | null> {
  const head = seen.head ?? NO_HEAD;
  const [before] = await tx.$queryRaw<{ drift: Drift }[]>`
    with before as (select id, drift from installations where id = ${row.id}::uuid for update)
    update installations i
       set drift = ${seen.drift}::drift, observed_at = now(), head_commit = ${head}, deployed_commit = ${seen.commit},
           deployed_build_id = ${seen.buildId}::uuid, deployment_id = ${seen.deploymentId}::uuid,
           deployed_at = case when ${head} = ${NO_HEAD} then null
                              when head_commit = ${head} then deployed_at else now() end
      from before, gitdeploys g
     where i.id = before.id and g.id = i.gitdeploy_id
       and i.head_commit = ${row.headCommit} and i.deployed_commit = ${row.deployedCommit}
       and not exists (
             select 1 from leases l where l.key = i.server_id::text || ':' || g.path
                and (l.expires_at >= now() or l.fence is distinct from ${row.fence}::bigint))
    returning before.drift::text as drift`;
  return before === undefined ? null : { id: row.id, was: before.drift, drift: seen.drift };
}

/**
 * Records that a server's installations could not be looked at, save those that somebody works on.
 * @returns what that changes
 */
export function recordUnseen(
  tx: Db,
  serverId: string,
  drift: 'unreachable' | 'unknown',
): Promise<DriftChange[]> {
  // By path, as those are who have seen them: who locks in one order never waits in a circle.
  return tx.$queryRaw`
    with before as (
      select i.id, i.drift from installations i join gitdeploys g on g.id = i.gitdeploy_id
       where i.server_id = ${serverId}::uuid
         and not exists (select 1 from leases l
                          where l.key = i.server_id::text || ':' || g.path and l.expires_at >= now())
       order by g.path collate "C" for update of i)
    update installations i set drift = ${drift}::drift, observed_at = now()
      from before where i.id = before.id
    returning i.id::text as id, before.drift::text as was, i.drift::text as drift`;
}
