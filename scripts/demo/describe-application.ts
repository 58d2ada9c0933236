import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Api } from './api.ts';
import type { Progress } from './progress.ts';
import type { DemoServer, DemoServers } from './servers.ts';
import { anyAnswer, groupAnswer, keypairAnswer } from './wire.ts';

/** Everything that the demo names. */
export const NAMES = {
  application: 'widgetmakers',
  keypair: 'demo-key',
  packageMap: 'widgetmakers-packages',
  group: 'WebFrontEnd',
  production: ['web01', 'web02', 'web03', 'web04'],
  testing: ['test01'],
} as const;

/** All servers, in the order in which they are made. */
export const SERVER_NAMES: readonly string[] = [...NAMES.production, ...NAMES.testing];

/** Where the application lives on every server; initializing needs the parents of the two paths below it. */
const HOME = '/opt/widgetmakers';

/** The two gitdeploys: what of a build goes where, by way of which gitrepo. */
export const GITDEPLOYS = {
  Configuration: { package: 'configs', gitrepo: 'widgetmakers-configs', path: `${HOME}/config` },
  WebApplication: { package: 'binaries', gitrepo: 'widgetmakers-binaries', path: `${HOME}/app` },
} as const;

/** How a build is cut into packages: settings land as `settings/…` instead of `conf/…`. */
const PACKAGES = {
  binaries: { patterns: ['bin/**'] },
  configs: {
    patterns: ['conf/**/*.{json,xml,yml}'],
    remove_prefix: 'conf/',
    prefix: 'settings/',
  },
} as const;

const APP = `/app/${NAMES.application}`;

/** Creates the application, and the keypair that its servers will trust. */
export async function createApplication(
  api: Api,
  progress: Progress,
): Promise<{ name: string; publicKey: string }> {
  await progress.step('Application', async (tell) => {
    await api.send('PUT', '/app', { query: { app_name: NAMES.application }, answer: anyAnswer });
    tell(NAMES.application);
  });
  return await progress.step('Keypair', async (tell) => {
    const made = await api.send('PUT', '/global/keypairs', {
      query: { name: NAMES.keypair, generate: true },
      answer: keypairAnswer,
    });
    tell(`${NAMES.keypair}, ${made.fingerprint}`);
    return { name: NAMES.keypair, publicKey: made.public_key };
  });
}

/** Tells Muster of the servers, and makes on each the folder that the application is to live in. */
export async function registerServers(
  api: Api,
  progress: Progress,
  { servers }: DemoServers,
): Promise<void> {
  await progress.step('Environments', async (tell) => {
    for (const { name, connection, root } of servers) {
      await mkdir(join(root, HOME), { recursive: true });
      await api.send('PUT', '/server', {
        query: { name, environment: environmentOf(name) },
        body: { connection },
        answer: anyAnswer,
      });
    }
    tell(`production: ${NAMES.production.join(' ')}; testing: ${NAMES.testing.join(' ')}`);
  });
}

/** Creates all that says how a build gets onto servers: package map, gitrepos, gitdeploys, group. */
export async function describeDeployment(api: Api, progress: Progress): Promise<void> {
  await progress.step('Package map', async (tell) => {
    await api.send('PUT', `${APP}/packagemaps`, {
      query: { name: NAMES.packageMap },
      body: { packages: PACKAGES },
      answer: anyAnswer,
    });
    tell('binaries: bin/**; configs: conf/**/*.{json,xml,yml} as settings/…');
  });
  for (const [name, { gitrepo, path, ...gitdeploy }] of Object.entries(GITDEPLOYS)) {
    await progress.step(name, async (tell) => {
      await api.finish('PUT', `${APP}/gitrepos`, { query: { name: gitrepo } });
      await api.send('PUT', `${APP}/gitdeploys`, {
        query: { name },
        body: { package: gitdeploy.package, location: { path, gitrepo, default_branch: 'master' } },
        answer: anyAnswer,
      });
      tell(`package ${gitdeploy.package} → gitrepo ${gitrepo} → ${path}`);
    });
  }
  await progress.step('Group', async (tell) => {
    const levels = Object.keys(GITDEPLOYS).map((name) => [name]);
    await api.send('PUT', `${APP}/groups`, {
      query: { name: NAMES.group, rolling_deploy: true },
      body: { gitdeploys: levels },
      answer: anyAnswer,
    });
    tell(`${NAMES.group}, rolling: ${levels.flat().join(', then ')}`);
  });
}

/** Makes the clones of both gitdeploys on all servers, so that the group holds them. */
export async function initializeServers(api: Api, progress: Progress): Promise<void> {
  for (const name of Object.keys(GITDEPLOYS)) {
    await progress.step(name, async (tell) => {
      const told = (count: number): void =>
        tell(`cloned on ${count} of ${SERVER_NAMES.length} servers`);
      await api.finish('POST', `${APP}/gitdeploys/${name}`, {
        query: { initialize: true },
        body: { servers: SERVER_NAMES },
        onResults: (results) => told(results.filter(({ kind }) => kind === 'server').length),
      });
    });
  }
  await progress.step('Group', async (tell) => {
    const { servers } = await api.send('GET', `${APP}/groups/${NAMES.group}`, {
      answer: groupAnswer,
    });
    tell(`${NAMES.group} now holds ${servers.join(' ')}`);
  });
}

/** The folder of a gitdeploy on a server, as this machine sees it. */
export function folderOn(server: DemoServer, gitdeploy: keyof typeof GITDEPLOYS): string {
  return join(server.root, GITDEPLOYS[gitdeploy].path);
}

/** Where the restarts are noted on a server, as this machine sees it. */
export function restartLogOn(server: DemoServer): string {
  return join(server.root, HOME, 'restarts.log');
}

/** The environment that a server of the demo is in. */
export function environmentOf(server: string): 'production' | 'testing' {
  return NAMES.testing.some((name) => name === server) ? 'testing' : 'production';
}
