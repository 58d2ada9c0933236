import { openAsBlob } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import type { Api, ApiRequest } from './api.ts';
import type { BuildFiles } from './build-files.ts';
import { batchChanges, batchTable, failures } from './deployment-view.ts';
import { NAMES } from './describe-application.ts';
import { type Progress, StepFailure } from './progress.ts';
import { tableLines } from './table.ts';
import { anyAnswer, buildAnswer, type Deployment, deploymentAnswer, planAnswer } from './wire.ts';

const APP = `/app/${NAMES.application}`;
const POLL_MS = 150;
const DEPLOYMENT_TIMEOUT_MS = 300_000;
const RUNNING = ['queued', 'preparing', 'running', 'paused', 'rolling_back'];

/** Uploads a build's archive; Muster checks its hash, stores it and cuts it into packages. */
export async function uploadBuild(api: Api, progress: Progress, build: BuildFiles): Promise<void> {
  await progress.step('Upload', async (tell) => {
    const path = `${APP}/builds/${build.name}`;
    await api.send('PUT', `${APP}/builds`, {
      query: { build_name: build.name },
      body: { attributes: { branch_name: 'main' } },
      answer: anyAnswer,
    });
    await api.finish('POST', path, {
      query: { file_type: 'tar.gz', package_map: NAMES.packageMap, sha256: build.sha256 },
      body: await openAsBlob(build.archive, { type: 'application/gzip' }),
    });
    const { packages } = await api.send('GET', path, { answer: buildAnswer });
    const told = Object.entries(packages).map(([name, { files }]) => `${name} ${files} files`);
    tell(`stored; ${told.sort().join(', ')}`);
  });
}

/** A build, and the environment whose servers of the group get it. */
export interface GroupTarget {
  readonly build: string;
  readonly environment: string;
}

/** What `deploy` would do; nothing is written. */
export async function dryRun(api: Api, target: GroupTarget): Promise<z.infer<typeof planAnswer>> {
  const { query, body } = requestOf(target);
  return await api.send('POST', `${APP}/deployments`, {
    query: { ...query, dry_run: true },
    body,
    answer: planAnswer,
  });
}

/**
 * Deploys a build to the group's servers in one environment and shows the batches as they run.
 * @throws {StepFailure} with Muster's reasons if it does not succeed
 */
export async function deploy(
  api: Api,
  progress: Progress,
  target: GroupTarget,
): Promise<Deployment> {
  const { terminal } = progress;
  const title = `Deployment of ${target.build} to ${target.environment}`;
  try {
    const deployment = await follow(api, progress, await start(api, target));
    for (const line of tableLines(batchTable(deployment), terminal)) terminal.print(line);
    if (deployment.status !== 'succeeded') {
      throw new Error([`It ended as ${deployment.status}.`, ...failures(deployment)].join('\n'));
    }
    return deployment;
  } catch (error) {
    terminal.clearLive();
    throw new StepFailure(title, error);
  }
}

async function start(api: Api, target: GroupTarget): Promise<Deployment> {
  return await api.send('POST', `${APP}/deployments`, {
    ...requestOf(target),
    answer: deploymentAnswer,
  });
}

function requestOf({ build, environment }: GroupTarget): Pick<ApiRequest<never>, 'query' | 'body'> {
  return {
    query: { build_name: build, rolling_divisor: 2, rolling_pause: 1 },
    body: { environments: [environment], groups: [NAMES.group] },
  };
}

async function follow(api: Api, { terminal }: Progress, started: Deployment): Promise<Deployment> {
  const deadline = Date.now() + DEPLOYMENT_TIMEOUT_MS;
  let shown: Deployment | null = null;
  for (let now = started; ; ) {
    if (terminal.isLive) terminal.showLive(tableLines(batchTable(now), terminal));
    else for (const line of batchChanges(shown, now)) terminal.print(line);
    shown = now;
    if (!RUNNING.includes(now.status)) {
      terminal.clearLive();
      return now;
    }
    if (Date.now() > deadline) {
      throw new Error(`It is still ${now.status} after ${DEPLOYMENT_TIMEOUT_MS / 1000} s.`);
    }
    await sleep(POLL_MS);
    now = await api.send('GET', `${APP}/deployments/${now.id}`, {
      answer: deploymentAnswer,
    });
  }
}
