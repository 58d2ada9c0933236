import { createHash } from 'node:crypto';
import { chmod, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from 'tar';
import { z } from 'zod';
import { type Manifest, readManifest } from './manifest.ts';

/** A build as CI would make it: a folder, its archive, and what is in it. */
export interface BuildFiles {
  readonly name: string;
  readonly archive: string;
  readonly archiveBytes: number;
  readonly sha256: string;
  readonly manifest: Manifest;
}

/** The file that is changed by the second build, and by hand on one server. */
export const SETTINGS_FILE = 'conf/application.yml';

/** What the second build sets `workers` to. */
export const SECOND_WORKERS = 8;

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Folders of installed packages that play the application's code: some hundred real files. */
const CODE = {
  fastify: 'lib',
  ioredis: 'built',
  minimatch: 'dist/esm',
  pino: 'lib',
  tar: 'dist/esm',
} as const;

const START_SCRIPT = '#!/bin/sh\nexec node "$(dirname "$0")/fastify/server.js"\n';

/** The text of `SETTINGS_FILE`; the two values stand far enough from each other to be merged. */
export const settings = ({
  logLevel = 'info',
  workers = 4,
} = {}): string => `# Settings of widgetmakers
listen: 0.0.0.0:8080
log_level: ${logLevel}

catalog:
  currency: EUR
  page_size: 50

jobs:
  workers: ${workers}
  retries: 3
`;

const routes = (paths: readonly string[]): string =>
  `<routes>\n${paths.map((path) => `  <route path="${path}"/>\n`).join('')}</routes>\n`;

/** The first build: code and settings. */
export async function makeFirstBuild(directory: string): Promise<BuildFiles> {
  const name = '1.0.0';
  const folder = join(directory, name);
  for (const [from, part] of Object.entries(CODE)) {
    const source = join(ROOT, 'node_modules', from, part);
    await cp(source, join(folder, 'bin', from), { recursive: true });
  }
  for (const dependency of await readDependencies()) {
    const file = join(folder, 'conf/packages', `${dependency.replaceAll(/[@/]/g, '_')}.json`);
    await mkdir(dirname(file), { recursive: true });
    await cp(join(ROOT, 'node_modules', dependency, 'package.json'), file);
  }
  await writeFile(join(folder, 'bin/start'), START_SCRIPT);
  await chmod(join(folder, 'bin/start'), 0o755);
  await writeFile(join(folder, 'bin/version.txt'), `${name}\n`);
  await writeFile(join(folder, 'bin/legacy-import.js'), 'export const isDeprecated = true;\n');
  await writeFile(join(folder, SETTINGS_FILE), settings());
  await writeFile(join(folder, 'conf/routes.xml'), routes(['/widgets', '/orders']));
  await writeFile(join(folder, 'README.md'), '# widgetmakers\n\nIn no package but master.\n');
  return await pack(directory, name);
}

/** The second build: the first one with some files changed, one added and one deleted. */
export async function makeSecondBuild(directory: string, first: BuildFiles): Promise<BuildFiles> {
  const name = '1.1.0';
  const folder = join(directory, name);
  await cp(join(directory, first.name), folder, { recursive: true });
  await writeFile(join(folder, 'bin/version.txt'), `${name}\n`);
  await rm(join(folder, 'bin/legacy-import.js'));
  await writeFile(join(folder, 'bin/export.js'), 'export const formats = ["csv", "json"];\n');
  await writeFile(join(folder, SETTINGS_FILE), settings({ workers: SECOND_WORKERS }));
  await writeFile(join(folder, 'conf/routes.xml'), routes(['/widgets', '/orders', '/exports']));
  return await pack(directory, name);
}

async function pack(directory: string, name: string): Promise<BuildFiles> {
  const folder = join(directory, name);
  const archive = join(directory, `widgetmakers-${name}.tar.gz`);
  await create({ file: archive, gzip: true, cwd: folder, portable: true }, await readdir(folder));
  const sha256 = createHash('sha256')
    .update(await readFile(archive))
    .digest('hex');
  const { size } = await stat(archive);
  return { name, archive, archiveBytes: size, sha256, manifest: await readManifest(folder) };
}

async function readDependencies(): Promise<readonly string[]> {
  const text = await readFile(join(ROOT, 'package.json'), 'utf8');
  const { dependencies } = z
    .object({ dependencies: z.record(z.string(), z.string()) })
    .parse(JSON.parse(text));
  return Object.keys(dependencies);
}
