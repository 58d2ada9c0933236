import type { Db } from './database.ts';
import { Prisma } from './generated/client.ts';

/**
 * Notes what a deployment that has succeeded did not bring to the servers that it left out. Not sooner: what comes of
 * a deployment that failed is for its retry or its rollback, and must not hide what was missed before it.
 */
export async function recordMissed(tx: Db, deploymentId: string): Promise<void> {
  await tx.$executeRaw`
    update installations i
       set missed_build_id = s.to_build_id, missed_deployment_id = s.deployment_id, missed_at = now()
      from steps s
      join batches b on b.id = s.batch_id
     where s.deployment_id = ${deploymentId}::uuid and b.phase = 'forward'
       and s.status = 'skipped' and s.error is not null and s.to_build_id is not null
       and i.server_id = s.server_id and i.gitdeploy_id = s.gitdeploy_id`;
}

/**
 * Whether an installation `i` of gitdeploy `g` still is behind by what is noted: a deployment that was taken back has
 * nothing to catch up with, and one whose gitdeploy has another gitrepo, branch or package now cannot be caught up with.
 */
export const IS_BEHIND = Prisma.sql`exists (
  select from deployments md
    join deployment_commits mc on mc.deployment_id = md.id and mc.phase = 'forward'
    join packages mp on mp.build_id = i.missed_build_id and mp.name = g.package_name and mp.tree = mc.tree
   where md.id = i.missed_deployment_id and md.status = 'succeeded'
     and mc.gitrepo_id = g.gitrepo_id and mc.branch = g.branch)`;

/** A clone that has missed a build. */
export interface MissedPair {
  readonly buildId: string;
  readonly buildName: string;
  /** The deployment that has left it out. */
  readonly deploymentId: string;
  readonly serverId: string;
  readonly server: string;
  readonly gitdeployId: string;
  readonly gitdeploy: string;
  /** The batch of that deployment that it stood in. */
  readonly batch: number;
  readonly slice: number;
  readonly level: number;
  readonly ordered: boolean;
  readonly pauseAfterSeconds: number;
}

/** What may be caught up with. */
export interface MissedOf {
  readonly applicationId: string;
  /** Default: on all servers. */
  readonly serverId?: string;
  /** Leaves out what was tried already and has failed there or was cancelled; it is for a user to try again. */
  readonly isUnasked?: boolean;
}

/**
 * What an application's servers have missed, by deployment, batch, server and gitdeploy. What a deployment under way works on
 * is left out: it brings this build or a newer one.
 */
export function listMissed(
  db: Db,
  { applicationId, serverId: only, isUnasked = false }: MissedOf,
): Promise<MissedPair[]> {
  const serverId = only ?? null;
  return db.$queryRaw<MissedPair[]>`
    select b.id::text as "buildId", b.name as "buildName", i.missed_deployment_id::text as "deploymentId",
           s.id::text as "serverId", s.name as "server", g.id::text as "gitdeployId", g.name as "gitdeploy",
           mb.index as "batch", mb.slice, mb.level, mb.ordered, mb.pause_after_seconds as "pauseAfterSeconds"
      from installations i
      join builds b on b.id = i.missed_build_id
      join gitdeploys g on g.id = i.gitdeploy_id
      join servers s on s.id = i.server_id
      join steps ms on ms.deployment_id = i.missed_deployment_id and ms.server_id = s.id and ms.gitdeploy_id = g.id
      join batches mb on mb.id = ms.batch_id and mb.phase = 'forward'
     where g.application_id = ${applicationId}::uuid and b.state = 'stored' and ${IS_BEHIND}
       and (${serverId}::uuid is null or s.id = ${serverId}::uuid)
       and not exists (
         select from steps st join deployments d on d.id = st.deployment_id
          where st.server_id = i.server_id and st.gitdeploy_id = i.gitdeploy_id
            and d.application_id = g.application_id
            and d.status in ('queued', 'preparing', 'running', 'paused', 'rolling_back'))
       and not (${isUnasked} and exists (
         select from steps st join deployments d on d.id = st.deployment_id
          where st.server_id = i.server_id and st.gitdeploy_id = i.gitdeploy_id and st.to_build_id = b.id
            and d.application_id = g.application_id and st.deployment_id > i.missed_deployment_id
            and (st.status = 'cancelled'
                 or st.status = 'failed' and st.error->>'code' is distinct from 'server_unreachable')))
     order by i.missed_deployment_id, mb.index, s.name collate "C", g.name collate "C"`;
}

/** The applications that want servers to catch up by themselves and have something to catch up with on this one. */
export function listCatchingUp(db: Db, serverId: string): Promise<{ id: string; name: string }[]> {
  return db.$queryRaw<{ id: string; name: string }[]>`
    select distinct a.id::text, a.name from installations i
      join gitdeploys g on g.id = i.gitdeploy_id
      join applications a on a.id = g.application_id
     where i.server_id = ${serverId}::uuid and i.missed_build_id is not null and a.auto_catchup
     order by a.name`;
}
