import { readFile } from 'node:fs/promises';
import { type BuildFiles, SECOND_WORKERS, SETTINGS_FILE, settings } from './build-files.ts';
import { censusLines } from './census-view.ts';
import {
  environmentOf,
  folderOn,
  type GITDEPLOYS,
  NAMES,
  restartLogOn,
} from './describe-application.ts';
import { HAND_MADE, HAND_SET_LOG_LEVEL } from './hand-change.ts';
import { differences, fingerprint, type Manifest, readManifest, renamed } from './manifest.ts';
import type { DemoServer } from './servers.ts';
import type { Census, Deployment } from './wire.ts';

type GitdeployName = keyof typeof GITDEPLOYS;
const GITDEPLOY_NAMES: readonly GitdeployName[] = ['Configuration', 'WebApplication'];

const SHOWN = 5;

/**
 * Reads every file of the application on a server, and compares it with what was uploaded.
 * @param changes files of the configuration that should be otherwise, by path
 * @returns how many files were compared
 * @throws {Error} naming the first files that are not as they should be
 */
export async function checkFiles(
  server: DemoServer,
  build: BuildFiles,
  changes: Manifest = new Map(),
): Promise<number> {
  let count = 0;
  for (const name of GITDEPLOY_NAMES) {
    const found = await readManifest(folderOn(server, name));
    const uploaded = packageOf(name, build.manifest);
    const expected = new Map([...uploaded, ...(name === 'Configuration' ? changes : [])]);
    const wrong = differences(expected, found);
    if (wrong.length > 0) {
      const told = wrong.slice(0, SHOWN).join(', ');
      throw new Error(
        `${name} ${build.name} on ${server.name}: ${told}${wrong.length > SHOWN ? ', …' : ''}.`,
      );
    }
    count += expected.size;
  }
  return count;
}

/** What the configuration on the server that was changed by hand must hold after the second deployment. */
export function survivingChanges(): Manifest {
  const merged = settings({ logLevel: HAND_SET_LOG_LEVEL, workers: SECOND_WORKERS });
  return new Map([
    [settingsOn(SETTINGS_FILE), fingerprint(merged)],
    [HAND_MADE.path, fingerprint(HAND_MADE.text)],
  ]);
}

/** The postpull action has run once on each server of production, and nowhere else. */
export async function checkRestarts(servers: readonly DemoServer[]): Promise<void> {
  for (const server of servers) {
    const text = await readFile(restartLogOn(server), 'utf8').catch(() => '');
    const count = text.split('\n').filter((line) => line !== '').length;
    const expected = environmentOf(server.name) === 'production' ? 1 : 0;
    if (count !== expected) {
      throw new Error(`${server.name} was restarted ${count} times instead of ${expected}.`);
    }
  }
}

/** Two slices, in each the configuration before the application, and no batch before the last one's end. */
export function checkBatches({ batches }: Deployment): void {
  const [first, second] = [NAMES.production.slice(0, 2), NAMES.production.slice(2)];
  const expected = [first, second].flatMap((servers) =>
    GITDEPLOY_NAMES.map((gitdeploy) => servers.map((server) => `${gitdeploy} on ${server}`)),
  );
  const ran = batches.map(({ steps }) =>
    steps.map(({ server, gitdeploy }) => `${gitdeploy} on ${server}`),
  );
  if (JSON.stringify(ran) !== JSON.stringify(expected)) {
    throw new Error(
      `The batches were ${JSON.stringify(ran)} instead of ${JSON.stringify(expected)}.`,
    );
  }
  for (const [i, batch] of batches.entries()) {
    const before = batches[i - 1]?.finished_at ?? '';
    if (batch.started_at === null || Date.parse(batch.started_at) < Date.parse(before)) {
      throw new Error(`Batch ${batch.index} did not wait for the one before it.`);
    }
  }
}

/** Production has the second build; testing has the first, while the second is committed. */
export function checkCensus(census: Census, first: string, second: string): void {
  const lines = censusLines(census).map((line) => Object.values(line).join(' '));
  const expected = [...NAMES.production, ...NAMES.testing].flatMap((server) => {
    const environment = environmentOf(server);
    const deployed = environment === 'production' ? second : first;
    return GITDEPLOY_NAMES.map(
      (gitdeploy) => `${environment} ${NAMES.group} ${server} ${gitdeploy} ${second} ${deployed}`,
    );
  });
  if (lines.join('\n') !== expected.join('\n')) {
    throw new Error(`The census should say:\n${expected.join('\n')}`);
  }
}

function packageOf(gitdeploy: GitdeployName, manifest: Manifest): Manifest {
  return gitdeploy === 'WebApplication'
    ? renamed(manifest, (path) => (path.startsWith('bin/') ? path : null))
    : renamed(manifest, (path) => (path.startsWith('conf/') ? settingsOn(path) : null));
}

/** A settings file of the build by the name that the package map gives it. */
function settingsOn(path: string): string {
  return path.replace(/^conf\//, 'settings/');
}
