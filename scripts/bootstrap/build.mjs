import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fingerprint, hasStamp, listFiles, writeStamp } from './fingerprint.mjs';
import { inNodeModules, mustRun, ROOT, say } from './run.mjs';

const CLIENT_STAMP = 'src/store/generated/.stamp';
const BUILD_STAMP = 'dist/.stamp';
const BUILT_FOLDERS = ['src', 'workers', 'prisma', 'scripts'];
const CONFIGURATION = ['package-lock.json', 'tsconfig.build.json', 'tsconfig.json'];

/** The step that generates Prisma's client, if the schema has changed since. */
export const generatedClient = {
  isDone: () => hasStamp(CLIENT_STAMP, fingerprintOfSchema()),
  run: generateClient,
};

/** The step that compiles to dist/, if anything that goes into it has changed since. */
export const build = {
  isDone: () => hasStamp(BUILD_STAMP, fingerprint([...CONFIGURATION, ...listSources()])),
  run: compile,
};

async function generateClient() {
  const stamp = fingerprintOfSchema();
  say('Generating the database client …');
  const prisma = inNodeModules('prisma/build/index.js');
  const args = [prisma, 'generate', '--schema=prisma/schema.prisma'];
  await mustRun('Generating the database client', process.execPath, args, {
    quiet: true,
    env: {
      ...process.env,
      // Generating does not use the engine; naming any program keeps Prisma from downloading one.
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
      PRISMA_HIDE_UPDATE_MESSAGE: 'true',
      CHECKPOINT_DISABLE: '1',
    },
  });
  writeStamp(CLIENT_STAMP, stamp);
}

async function compile() {
  const sources = listSources();
  // Taken before the compiler reads them: a file that changes meanwhile makes the next start build again.
  const stamp = fingerprint([...CONFIGURATION, ...sources]);
  say('Building …');
  const args = [inNodeModules('typescript/bin/tsc'), '-p', 'tsconfig.build.json'];
  await mustRun('The build', process.execPath, args);
  // The compiler leaves out what is no TypeScript, such as the pages of the dashboard.
  const assets = sources.filter((path) => path.startsWith('src/') && !path.endsWith('.ts'));
  for (const path of assets) {
    cpSync(join(ROOT, path), join(ROOT, 'dist', path));
  }
  writeStamp(BUILD_STAMP, stamp);
}

function fingerprintOfSchema() {
  return fingerprint(['package-lock.json', 'prisma/schema.prisma']);
}

function listSources() {
  return listFiles(BUILT_FOLDERS, (path) => path !== CLIENT_STAMP);
}
