import { getOrAdd } from '../domain/get-or-add.ts';
import type { Db } from './database.ts';
import { type Drift, type Installation, Prisma } from './generated/client.ts';
import { type DriftChange, recordServerNotices } from './server-notices.ts';

export type InstallationRow = Installation;

/** Stands for HEAD where the clone is gone; what a next deployment goes on from is still known then. */
export const NO_HEAD = '';

/** Which gitdeploys of an application are initialized on which servers, by name. */
export async function listInstallationPairs(
  db: Db,
  applicationId: string,
): Promise<{ server: string; gitdeploy: string; environment: string }[]> {
  return db.$queryRaw`
    select s.name as "server", g.name as "gitdeploy", s.environment
      from installations i
      join gitdeploys g on g.id = i.gitdeploy_id
      join servers s on s.id = i.server_id
     where g.application_id = ${applicationId}::uuid
     order by s.name collate "C", g.name collate "C"`;
}

/** What is initialized on one server. */
export interface ServerInstallation {
  readonly application: string;
  readonly gitdeploy: string;
  readonly path: string;
  /** The build that is there. */
  readonly deployed: string | null;
  readonly drift: Drift;
  readonly observedAt: Date | null;
}

/** The installations of one server, sorted by application and gitdeploy. */
export async function listServerInstallations(
  db: Db,
  serverId: string,
): Promise<ServerInstallation[]> {
  return db.$queryRaw`
    select a.name as "application", g.name as "gitdeploy", g.path, b.name as "deployed",
           i.drift::text as "drift", i.observed_at as "observedAt"
      from installations i
      join gitdeploys g on g.id = i.gitdeploy_id
      join applications a on a.id = g.application_id
      left join builds b on b.id = i.deployed_build_id
     where i.server_id = ${serverId}::uuid
     order by a.name collate "C", g.name collate "C"`;
}

export function findInstallation(
  db: Db,
  pair: { gitdeployId: string; serverId: string },
): Promise<InstallationRow | null> {
  return db.installation.findUnique({ where: { gitdeployId_serverId: pair } });
}

/** The installations of the given gitdeploys on the given servers. */
export function findInstallations(
  db: Db,
  pairs: { gitdeployIds: readonly string[]; serverIds: readonly string[] },
): Promise<InstallationRow[]> {
  return db.installation.findMany({
    where: {
      gitdeployId: { in: [...pairs.gitdeployIds] },
      serverId: { in: [...pairs.serverIds] },
    },
  });
}

export interface NewInstallation {
  readonly id: string;
  readonly gitdeployId: string;
  readonly serverId: string;
  readonly deployedBuildId: string | null;
  readonly commit: string;
}

/** Records a clone that was made; an installation that exists keeps what it has. */
export async function insertInstallation(db: Db, installation: NewInstallation): Promise<void> {
  const { commit, deployedBuildId, ...ids } = installation;
  const now = new Date();
  await db.installation.createMany({
    data: [
      {
        ...ids,
        deployedBuildId,
        deployedCommit: commit,
        headCommit: commit,
        deployedAt: deployedBuildId === null ? null : now,
        drift: 'none',
        observedAt: now,
      },
    ],
    skipDuplicates: true,
  });
}

/** What a switch has left of a build on a server. */
export interface DeployedState {
  readonly installationId: string;
  readonly buildId: string | null;
  readonly commit: string;
  readonly head: string;
  readonly deploymentId: string;
  readonly isModified: boolean;
}

/**
 * Records what switches have left on servers, by one statement: there are as many as there are servers. Webhooks hear of
 * those that could not be reached before.
 */
export async function recordDeployed(tx: Db, states: readonly DeployedState[]): Promise<void> {
  const values = states.map(
    (state) =>
      Prisma.sql`(${state.installationId}::uuid, ${state.buildId}::uuid, ${state.commit}, ${state.head},
        ${state.deploymentId}::uuid, ${state.isModified ? 'modified' : 'none'}::drift)`,
  );
  const ids = states.map(({ installationId }) => installationId);
  const found = await tx.$queryRaw<(DriftChange & { readonly serverId: string })[]>`
    with before as (
      select id, drift from installations where id = any(${ids}::uuid[]) order by id for update)
    update installations i
       set deployed_build_id = v.build_id, deployed_commit = v.commit, head_commit = v.head, deployed_at = now(),
           deployment_id = v.deployment_id, drift = v.drift, observed_at = now(), missed_build_id = null,
           missed_deployment_id = null, missed_at = null
      from before join (values ${Prisma.join(values)}) as v (id, build_id, commit, head, deployment_id, drift)
             on v.id = before.id
     where i.id = before.id
    returning i.id::text, i.server_id::text as "serverId", before.drift::text as was, i.drift::text as drift`;
  const byServer = new Map<string, DriftChange[]>();
  for (const one of found) getOrAdd(byServer, one.serverId, () => []).push(one);
  for (const [serverId, changes] of byServer) {
    await recordServerNotices(tx, serverId, { changes, byLook: false });
  }
}

/** Changes an installation's row, and has webhooks hear whether its server has come or gone by that. */
async function tellingReach(
  tx: Db,
  id: string,
  drift: Drift,
  change: () => Promise<unknown>,
): Promise<void> {
  const before = await tx.installation.findUnique({
    where: { id },
    select: { serverId: true, drift: true },
  });
  await change();
  if (before === null) return;
  const changes = [{ id, was: before.drift, drift }];
  await recordServerNotices(tx, before.serverId, { changes, byLook: false });
}

/** Puts an installation's row back to what it said when it was read, because the switch was taken back. */
export async function restoreInstallation(db: Db, before: InstallationRow): Promise<void> {
  const { id, deployedBuildId, deployedCommit, headCommit, deployedAt, deploymentId, drift } =
    before;
  const { missedBuildId, missedDeploymentId, missedAt } = before;
  // It was reached meanwhile, or nothing could have been taken back.
  const present = drift === 'unreachable' ? 'unknown' : drift;
  await db.installation.updateMany({
    where: { id },
    data: {
      deployedBuildId,
      deployedCommit,
      headCommit,
      deployedAt,
      deploymentId,
      drift: present,
      observedAt: new Date(),
      missedBuildId,
      missedDeploymentId,
      missedAt,
    },
  });
}

export async function deleteInstallation(db: Db, id: string): Promise<void> {
  await db.installation.deleteMany({ where: { id } });
}

/**
 * Notes how a clone was found by a step that could not go on. That files were changed does not tell where HEAD is, so
 * one that was moved stays so.
 */
export async function markDrift(
  tx: Db,
  id: string,
  drift: 'modified' | 'unreachable',
): Promise<void> {
  await tx.installation.updateMany({ where: { id }, data: { observedAt: new Date() } });
  const unless = drift === 'modified' ? { drift: { not: 'moved' as const } } : {};
  await tellingReach(tx, id, drift, () =>
    tx.installation.updateMany({ where: { id, ...unless }, data: { drift } }),
  );
}

/**
 * Notes of all that is initialized on a server that nobody has looked at it yet. What could not be reached stays so
 * until it is reached. @returns how many installations there are
 */
export function forgetObservations(tx: Db, serverId: string): Promise<number> {
  return tx.$executeRaw`
    update installations
       set drift = case when drift = 'unreachable' then drift else 'unknown' end, observed_at = null
     where server_id = ${serverId}::uuid`;
}

/** Notes that there is no clone any more. */
export async function markMissing(tx: Db, id: string): Promise<void> {
  await tellingReach(tx, id, 'moved', () =>
    tx.installation.updateMany({
      where: { id },
      data: {
        drift: 'moved',
        headCommit: NO_HEAD,
        deployedBuildId: null,
        deploymentId: null,
        deployedAt: null,
        observedAt: new Date(),
      },
    }),
  );
}
