import { join } from 'node:path';
import type { Api } from './api.ts';
import { type BuildFiles, makeFirstBuild, makeSecondBuild, SETTINGS_FILE } from './build-files.ts';
import { censusTable } from './census-view.ts';
import { deploy, dryRun, uploadBuild } from './deliver.ts';
import {
  createApplication,
  describeDeployment,
  environmentOf,
  initializeServers,
  NAMES,
  registerServers,
  SERVER_NAMES,
} from './describe-application.ts';
import { changeByHand, HAND_MADE, HAND_MADE_ON, HAND_SET_LOG_LEVEL } from './hand-change.ts';
import type { Progress } from './progress.ts';
import { type DemoServer, type DemoServers, type ServerKind, startServers } from './servers.ts';
import { tableLines } from './table.ts';
import {
  checkBatches,
  checkCensus,
  checkFiles,
  checkRestarts,
  survivingChanges,
} from './verify.ts';
import { anyAnswer, applicationAnswer, type Deployment } from './wire.ts';

/** What the story is told with. */
export interface Stage {
  readonly api: Api;
  readonly progress: Progress;
  readonly serverKind: ServerKind;
  readonly directory: string;
  /** Takes what is to be ended after the story, last first. */
  readonly closing: (() => Promise<void>)[];
}

const APP = `/app/${NAMES.application}`;

/** Runs in the folder of the clone. */
const RESTART = 'echo "restarted on $(uname -n) at $(date -u +%H:%M:%S)" >> ../restarts.log';

/**
 * Muster's main job from the first request to the census, and the check that it was done.
 * @returns the servers, to be looked at
 */
export async function tellStory(stage: Stage): Promise<readonly DemoServer[]> {
  const { api, progress } = stage;
  progress.heading('Describe the application');
  const { servers } = await setUp(stage);

  progress.heading('Build 1.0.0');
  const builds = join(stage.directory, 'builds');
  const first = await makeBuild(progress, () => makeFirstBuild(builds));
  await uploadBuild(api, progress, first);

  progress.heading('Initialize the servers');
  await initializeServers(api, progress);

  progress.heading('Deploy 1.0.0 to testing');
  await deploy(api, progress, { build: first.name, environment: 'testing' });
  progress.heading('Deploy 1.0.0 to production, one half of the servers after the other');
  await deploy(api, progress, { build: first.name, environment: 'production' });

  progress.heading('Build 1.1.0');
  const second = await makeBuild(progress, () => makeSecondBuild(builds, first));
  await uploadBuild(api, progress, second);
  await showDryRun(stage, second);

  progress.heading(`Meanwhile somebody works on ${HAND_MADE_ON} by hand`);
  await workByHand(progress, servers);

  progress.heading('Deploy 1.1.0 to production, with a restart after each switch');
  await addRestart(stage);
  const deployment = await deploy(api, progress, {
    build: second.name,
    environment: 'production',
  });

  await check(stage, { servers, first, second, deployment });
  return servers;
}

async function setUp(stage: Stage): Promise<DemoServers> {
  const { api, progress, serverKind } = stage;
  const keypair = await createApplication(api, progress);
  const servers = await progress.step('Servers', async (tell) => {
    tell(`${SERVER_NAMES.length} ${serverKind.description}`);
    const started = await startServers({
      kind: serverKind.kind,
      names: SERVER_NAMES,
      directory: join(stage.directory, 'servers'),
      keypair,
    });
    stage.closing.unshift(() => started.close());
    return started;
  });
  await registerServers(api, progress, servers);
  await describeDeployment(api, progress);
  return servers;
}

async function makeBuild(progress: Progress, make: () => Promise<BuildFiles>): Promise<BuildFiles> {
  return await progress.step('Archive', async (tell) => {
    const build = await make();
    const megabytes = (build.archiveBytes / 1_000_000).toFixed(1);
    tell(`${build.manifest.size} files of installed packages in a tar.gz of ${megabytes} MB`);
    return build;
  });
}

/** What the second build would change on the servers; nothing is written. */
async function showDryRun({ api, progress }: Stage, build: BuildFiles): Promise<void> {
  await progress.step('Dry run', async (tell) => {
    const { batches, changes } = await dryRun(api, {
      build: build.name,
      environment: 'production',
    });
    const told = Object.entries(changes).map(
      ([gitdeploy, { added, modified, deleted }]) =>
        `${gitdeploy} +${added} ~${modified} -${deleted} files`,
    );
    tell(`${batches.length} batches; ${told.join(', ')}`);
  });
}

async function workByHand(progress: Progress, servers: readonly DemoServer[]): Promise<void> {
  await progress.step('Edit', async (tell) => {
    for (const server of servers.filter(({ name }) => name === HAND_MADE_ON)) {
      await changeByHand(server);
    }
    tell(
      `${SETTINGS_FILE.replace('conf', 'settings')}: log_level is now ${HAND_SET_LOG_LEVEL}; ${HAND_MADE.path} is new`,
    );
  });
}

async function addRestart({ api, progress }: Stage): Promise<void> {
  await progress.step('Action', async (tell) => {
    await api.send('PATCH', `${APP}/gitdeploys/WebApplication`, {
      body: { actions: { postpull: { restart: { cmd: [{ name: RESTART }, 'run'] } } } },
      answer: anyAnswer,
    });
    tell('WebApplication, postpull: cmd.run');
  });
}

async function check(
  { api, progress }: Stage,
  after: {
    servers: readonly DemoServer[];
    first: BuildFiles;
    second: BuildFiles;
    deployment: Deployment;
  },
): Promise<void> {
  const { servers, first, second, deployment } = after;
  const { terminal } = progress;
  progress.heading('Census: what is committed, and what runs where');
  const { census } = await api.send('GET', APP, { answer: applicationAnswer });
  for (const line of tableLines(censusTable(census), terminal)) terminal.print(line);

  progress.heading('Check, on the servers themselves');
  await progress.step('Files', async (tell) => {
    let count = 0;
    for (const server of servers.filter(({ name }) => name !== HAND_MADE_ON)) {
      const build = environmentOf(server.name) === 'production' ? second : first;
      count += await checkFiles(server, build);
    }
    tell(`${count} files on ${servers.length - 1} servers are what was uploaded`);
  });
  await progress.step('Work by hand', async (tell) => {
    for (const server of servers.filter(({ name }) => name === HAND_MADE_ON)) {
      await checkFiles(server, second, survivingChanges());
    }
    tell(`is still on ${HAND_MADE_ON}, merged with build ${second.name}`);
  });
  await progress.step('Restarts', async (tell) => {
    await checkRestarts(servers);
    tell(`one on each server of production, after the switch`);
  });
  await progress.step('Batches', (tell) => {
    checkBatches(deployment);
    tell('one after the other, Configuration before WebApplication');
    return Promise.resolve();
  });
  await progress.step('Census', (tell) => {
    checkCensus(census, first.name, second.name);
    tell(`${second.name} in production, ${first.name} in testing`);
    return Promise.resolve();
  });
}
