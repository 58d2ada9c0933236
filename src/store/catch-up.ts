import { sortedUnique } from '../domain/code-unit-order.ts';
import { DeploymentOptions } from '../domain/deployment-options.ts';
import type { Db } from './database.ts';
import { insertDeployment } from './deployments.ts';
import { appendEvent } from './events.ts';
import { insertJob, type JobRow } from './jobs.ts';
import { listMissed, type MissedPair } from './missed.ts';

/** Who has servers catch up: a user, or Muster itself. */
export interface CatchUpCaller {
  readonly username: string;
  readonly userId: string | null;
}

export interface CatchUp {
  readonly deploymentId: string;
  readonly buildName: string;
  readonly servers: readonly string[];
  readonly job: JobRow;
}

/** What a deployment needs to bring servers what they have missed: one batch, each server for itself. */
function optionsFor(servers: number): DeploymentOptions {
  return DeploymentOptions.parse({
    rolling_divisor: 1,
    rolling_pause: 0,
    ordered_pause: 0,
    max_failures: servers,
    on_failure: 'stop',
    concurrency: 50,
    unreachable: 'skip',
  });
}

/**
 * Stores a deployment, and its job, for each build that servers have missed: just the pairs that missed it.
 * Call it with the application locked, and ring for the jobs after the commit.
 */
export async function startCatchUps(
  tx: Db,
  of: { readonly applicationId: string; readonly serverId?: string },
  caller: CatchUpCaller,
): Promise<CatchUp[]> {
  const started: CatchUp[] = [];
  for (const pairs of byBuild(await listMissed(tx, of))) {
    const [first] = pairs;
    if (first === undefined) continue;
    const servers = sortedUnique(pairs.map(({ server }) => server));
    const gitdeploys = sortedUnique(pairs.map(({ gitdeploy }) => gitdeploy));
    const { id } = await insertDeployment(tx, {
      applicationId: of.applicationId,
      build: { id: first.buildId, name: first.buildName },
      username: caller.username,
      reason: 'Servers catch up with what they missed',
      target: { style: 'manual', environments: [], groups: [], servers, gitdeploys },
      options: optionsFor(servers.length),
      planHash: null,
      batches: [{ index: 0, slice: 0, level: 0, ordered: false, pauseAfterSeconds: 0, pairs }],
      serverIds: new Map(pairs.map(({ server, serverId }) => [server, serverId])),
      gitdeployIds: new Map(pairs.map(({ gitdeploy, gitdeployId }) => [gitdeploy, gitdeployId])),
    });
    const job = await insertJob(tx, {
      kind: 'run_deployment',
      data: { deploymentId: id },
      applicationId: of.applicationId,
      ...caller,
    });
    await appendEvent(tx, {
      jobId: job.id,
      deploymentId: id,
      kind: 'deployment',
      data: { status: 'queued', build: first.buildName, batches: 1 },
    });
    started.push({ deploymentId: id, buildName: first.buildName, servers, job });
  }
  return started;
}

function byBuild(pairs: readonly MissedPair[]): MissedPair[][] {
  const builds = new Map<string, MissedPair[]>();
  for (const pair of pairs) builds.set(pair.buildId, [...(builds.get(pair.buildId) ?? []), pair]);
  return [...builds.values()];
}
