import type { Batch } from '../domain/batches.ts';
import { sortedUnique } from '../domain/code-unit-order.ts';
import { DeploymentOptions, type RecordedTarget } from '../domain/deployment-options.ts';
import { getOrAdd } from '../domain/get-or-add.ts';
import { insertAuditEvent, type NewAuditEvent } from './audit-events.ts';
import type { Db } from './database.ts';
import { insertDeployment } from './deployments.ts';
import { appendEvent } from './events.ts';
import { insertJob, type JobRow } from './jobs.ts';
import { fromJson } from './json.ts';
import { listMissed, type MissedOf, type MissedPair } from './missed.ts';

/** Who has servers catch up: a user, or Muster itself. */
export interface CatchUpCaller {
  readonly username: string;
  readonly userId: string | null;
  /** Where the request came from, and its id in the logs; null for what Muster does by itself. */
  readonly remoteAddress: string | null;
  readonly requestId: string | null;
}

/** A deployment that brings servers what they have missed. */
export interface CatchUp {
  readonly deploymentId: string;
  readonly buildName: string;
  readonly servers: readonly string[];
  readonly job: JobRow;
}

const REASON = 'Servers catch up with what they have missed';

/**
 * Stores a deployment, its job and its audit event for each deployment that has left servers out: for just the pairs
 * that it left out. Call it with the application locked (`lockApplication`), and ring for the jobs after the commit.
 *
 * The new deployment begins with the commits of the one that was missed. So a server gets exactly what was meant for
 * it, though the branch may have gone on since: to commit the old build anew would move the branch back for all who
 * share it, and to bring what is committed by now would bring a build to a server that nobody has asked for there.
 */
export async function startCatchUps(
  tx: Db,
  of: MissedOf & { readonly application: string },
  caller: CatchUpCaller,
): Promise<CatchUp[]> {
  const started: CatchUp[] = [];
  for (const pairs of byDeployment(await listMissed(tx, of))) {
    const [first] = pairs;
    if (first !== undefined) started.push(await startCatchUp(tx, of, { caller, first, pairs }));
  }
  return started;
}

async function startCatchUp(
  tx: Db,
  { applicationId, application }: { applicationId: string; application: string },
  o: { caller: CatchUpCaller; first: MissedPair; pairs: readonly MissedPair[] },
): Promise<CatchUp> {
  const { caller, first, pairs } = o;
  const { username, userId } = caller;
  const servers = sortedUnique(pairs.map(({ server }) => server));
  const gitdeploys = sortedUnique(pairs.map(({ gitdeploy }) => gitdeploy));
  const target: RecordedTarget = {
    style: 'manual',
    environments: [],
    groups: [],
    servers,
    gitdeploys,
  };
  const options = optionsOf(await findOptions(tx, first.deploymentId), servers.length);
  const { id } = await insertDeployment(tx, {
    applicationId,
    build: { id: first.buildId, name: first.buildName },
    username,
    reason: REASON,
    target,
    options,
    planHash: null,
    batches: batchesOf(pairs),
    serverIds: new Map(pairs.map(({ server, serverId }) => [server, serverId])),
    gitdeployIds: new Map(pairs.map(({ gitdeploy, gitdeployId }) => [gitdeploy, gitdeployId])),
  });
  await takeOverCommits(tx, { from: first.deploymentId, to: id });
  const job = await insertJob(tx, {
    kind: 'run_deployment',
    data: { deploymentId: id },
    applicationId,
    username,
    userId,
  });
  await appendEvent(tx, {
    jobId: job.id,
    deploymentId: id,
    kind: 'deployment',
    data: { status: 'queued', build: first.buildName, batches: 1 },
  });
  await insertAuditEvent(tx, auditEvent(caller, { id, application, first, target, options }));
  return { deploymentId: id, buildName: first.buildName, servers, job };
}

/** In the order in which they would have got it: on a server, level by level. */
function batchesOf(pairs: readonly MissedPair[]): Batch[] {
  const batches = new Map<number, MissedPair[]>();
  for (const pair of pairs) getOrAdd(batches, pair.batch, () => []).push(pair);
  return [...batches.values()].flatMap((ofBatch, index) =>
    ofBatch.slice(0, 1).map(({ slice, level, ordered, pauseAfterSeconds }) => ({
      index,
      slice,
      level,
      ordered,
      pauseAfterSeconds,
      pairs: ofBatch,
    })),
  );
}

async function findOptions(tx: Db, deploymentId: string): Promise<DeploymentOptions> {
  const where = { id: deploymentId };
  const { options } = await tx.deployment.findUniqueOrThrow({ where, select: { options: true } });
  return fromJson(DeploymentOptions, options);
}

/**
 * At the pace of the deployment that was missed, but each server for itself, and what was approved needs no other
 * approval. One that cannot be reached again fails here and stays behind: left out once more, it would make a
 * deployment that brought nothing a success.
 */
function optionsOf(missed: DeploymentOptions, servers: number): DeploymentOptions {
  return {
    ...missed,
    max_failures: servers,
    on_failure: 'stop',
    canary: null,
    canary_pause: 0,
    approve: 'none',
    unreachable: 'fail',
    on_conflict: 'queue',
    override_freeze: false,
  };
}

/** They are on their branches already, so that nothing changes there. */
async function takeOverCommits(tx: Db, of: { from: string; to: string }): Promise<void> {
  await tx.$executeRaw`
    insert into deployment_commits
           (deployment_id, gitrepo_id, gitrepo_name, branch, phase, tree, commit, changed_files)
    select ${of.to}::uuid, c.gitrepo_id, c.gitrepo_name, c.branch, c.phase, c.tree, c.commit,
           '{"added":0,"modified":0,"deleted":0,"files":[]}'
      from deployment_commits c
     where c.deployment_id = ${of.from}::uuid and c.phase = 'forward'
       and exists (select from steps s join gitdeploys g on g.id = s.gitdeploy_id
                    where s.deployment_id = ${of.to}::uuid
                      and g.gitrepo_id = c.gitrepo_id and g.branch = c.branch)`;
}

/** The same as of a deployment that was asked for as such. */
function auditEvent(
  { username, remoteAddress, requestId }: CatchUpCaller,
  of: {
    id: string;
    application: string;
    first: MissedPair;
    target: RecordedTarget;
    options: DeploymentOptions;
  },
): NewAuditEvent {
  const { id, application, first, target, options } = of;
  return {
    username,
    remoteAddress,
    requestId,
    action: 'deployment.create',
    application,
    subject: id,
    after: { build: first.buildName, reason: REASON, target, options, missed: first.deploymentId },
  };
}

function byDeployment(pairs: readonly MissedPair[]): MissedPair[][] {
  const deployments = new Map<string, MissedPair[]>();
  for (const pair of pairs) getOrAdd(deployments, pair.deploymentId, () => []).push(pair);
  return [...deployments.values()];
}
