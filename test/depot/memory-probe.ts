import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { openDepot } from '../../src/depot/depot.ts';
import { UNGUARDED } from './unguarded.ts';

/** Run by memory.test.ts as a process of its own: stores, cuts and downloads a build, and prints what it took. */
const [directory = '', applicationId = '', archivePath = ''] = process.argv.slice(2);

const depot = await openDepot({ directory, guard: UNGUARDED });
const { tree, files } = await depot.ingestBuild({
  applicationId,
  buildId: archivePath,
  archivePath,
  fileType: 'tar.gz',
});
const packages = await depot.cutPackages({
  applicationId,
  buildId: archivePath,
  tree,
  packages: { all: { patterns: ['**'], prefix: 'p/' } },
});
const archive = await depot.writeArchive({
  applicationId,
  tree,
  fileType: 'tar.gz',
  rootTime: new Date(0),
});
const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
await pipeline(archive, nowhere);

process.stdout.write(
  JSON.stringify({
    files,
    packageFiles: Object.values(packages)[0]?.files,
    maxRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  }),
);
