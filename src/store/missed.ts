import type { Db } from './database.ts';

/** Notes that a server was left out, and what it would have got. */
export async function recordMissed(
  tx: Db,
  installationId: string,
  missed: { readonly buildId: string; readonly deploymentId: string },
): Promise<void> {
  await tx.installation.updateMany({
    where: { id: installationId },
    data: {
      missedBuildId: missed.buildId,
      missedDeploymentId: missed.deploymentId,
      missedAt: new Date(),
    },
  });
}

/** A clone that has missed a build. */
export interface MissedPair {
  readonly buildId: string;
  readonly buildName: string;
  readonly serverId: string;
  readonly server: string;
  readonly gitdeployId: string;
  readonly gitdeploy: string;
}

/** What an application's servers have missed and no deployment under way brings, by build, server and gitdeploy. */
export function listMissed(
  db: Db,
  of: { readonly applicationId: string; readonly serverId?: string },
): Promise<MissedPair[]> {
  return db.$queryRaw<MissedPair[]>`
    select b.id::text as "buildId", b.name as "buildName", s.id::text as "serverId", s.name as "server",
           g.id::text as "gitdeployId", g.name as "gitdeploy"
      from installations i
      join builds b on b.id = i.missed_build_id
      join gitdeploys g on g.id = i.gitdeploy_id
      join servers s on s.id = i.server_id
     where g.application_id = ${of.applicationId}::uuid and b.state = 'stored'
       and (${of.serverId ?? null}::uuid is null or s.id = ${of.serverId ?? null}::uuid)
       and exists (select from packages p where p.build_id = b.id and p.name = g.package_name)
       and not exists (
         select from steps st join deployments d on d.id = st.deployment_id
          where st.server_id = i.server_id and st.gitdeploy_id = i.gitdeploy_id and st.to_build_id = b.id
            and st.status in ('pending', 'running')
            and d.status in ('queued', 'preparing', 'running', 'paused'))
     order by i.missed_at, b.name collate "C", s.name collate "C", g.name collate "C"`;
}

/** The applications that want servers to catch up by themselves and have something to catch up with on this one. */
export function listCatchingUp(db: Db, serverId: string): Promise<{ id: string; name: string }[]> {
  return db.$queryRaw<{ id: string; name: string }[]>`
    select distinct a.id::text, a.name from installations i
      join gitdeploys g on g.id = i.gitdeploy_id
      join applications a on a.id = g.application_id
     where i.server_id = ${serverId}::uuid and i.missed_build_id is not null and a.auto_catchup`;
}
