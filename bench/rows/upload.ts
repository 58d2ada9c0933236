import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { findProgram } from '../../test/support/parts.ts';
import type { Bench } from '../bench.ts';
import { runProgram } from '../builds/run-program.ts';
import type { Version } from '../builds/versions.ts';
import { type BenchMuster, startBenchMuster } from '../muster/muster.ts';
import type { Figure, Row } from '../row.ts';
import { table } from '../row.ts';
import { openUsualVersions } from '../site.ts';
import { medianRatio, summary } from '../statistics.ts';

const PARTS = ['bin', 'conf', 'lib', 'share', 'web'] as const;
const APPLICATION = 'shop';
const MAP = 'five';
const LARGE_FILES = 64;
const LARGE_FILE_BYTES = 32 * 1024 ** 2;
const MEGABYTE = 1_000_000;

/** Row 7: a build comes in, and is cut into five packages. */
export const UPLOAD: Row = {
  number: 7,
  work: 'upload and package: a build as tar.gz with a map of five packages, until it is stored',
  needsPeers: false,
  run: async (bench) => {
    const muster = await startBenchMuster(bench);
    await muster.call('PUT', `/app?app_name=${APPLICATION}`);
    await muster.call('PUT', `/app/${APPLICATION}/packagemaps?name=${MAP}`, {
      packages: Object.fromEntries(PARTS.map((part) => [part, { patterns: [`${part}/**`] }])),
    });
    const versions = await openUsualVersions(bench);
    const uploads: number[] = [];
    const zips: number[] = [];
    const hasTools = findProgram('zip') !== undefined;
    for (let i = 0; i < bench.options.repetitions; i += 1) {
      bench.signal.throwIfAborted();
      const version = await versions.get(i);
      uploads.push(await upload(muster, `version-${i}`, version.archive));
      if (hasTools) zips.push(await unpackAndZip(bench, version));
      bench.say(`upload ${Math.round(uploads[i] ?? 0)} ms, tools ${Math.round(zips[i] ?? 0)} ms`);
    }
    const large = bench.options.quick ? [] : [await uploadLarge(bench, muster)];
    return {
      figures: [
        {
          name: 'time by that of tar and zip',
          value: zips.length === 0 ? null : medianRatio(uploads, zips),
          unit: '×',
          goal: { atMost: 0.6 },
          ...(hasTools ? {} : { note: 'zip is missing (Debian: apt-get install zip)' }),
        },
        ...large,
      ],
      tables: [
        table(
          'Seconds, median (least – greatest)',
          ['what', 'seconds'],
          [
            ['upload until stored', summary(uploads.map((ms) => ms / 1000))],
            ['tar -xzf, then zip of each package', summary(zips.map((ms) => ms / 1000))],
          ],
        ),
      ],
      notes: ['The memory is that of Muster’s own process; git and PostgreSQL are others.'],
    };
  },
};

async function upload(muster: BenchMuster, build: string, archive: string): Promise<number> {
  const builds = `/app/${APPLICATION}/builds`;
  await muster.call('PUT', `${builds}?build_name=${build}`);
  const start = performance.now();
  await muster.upload(`${builds}/${build}?file_type=tar.gz&package_map=${MAP}`, archive);
  return performance.now() - start;
}

/** What a script would do instead. */
async function unpackAndZip(bench: Bench, { archive }: Version): Promise<number> {
  const folder = await bench.directory('unpacked');
  const files = join(folder, 'files');
  await mkdir(files);
  const start = performance.now();
  await runProgram(['tar', '-xzf', archive, '-C', files]);
  for (const part of PARTS) {
    await runProgram(['env', '-C', files, 'zip', '-qr', join(folder, `${part}.zip`), part]);
  }
  const tookMs = performance.now() - start;
  await runProgram(['rm', '-rf', folder]);
  return tookMs;
}

async function uploadLarge(bench: Bench, muster: BenchMuster): Promise<Figure> {
  const folder = await bench.directory('large');
  const archive = await writeLargeArchive(folder);
  const { size } = await stat(archive);
  await muster.forgetPeakMemory();
  const tookMs = await upload(muster, 'large', archive);
  const { peak } = await muster.memory();
  await runProgram(['rm', '-rf', folder]);
  return {
    name: 'memory at an archive of 2 GB',
    value: peak / MEGABYTE,
    unit: 'MB',
    goal: { atMost: 400 },
    note: `${(size / 1e9).toFixed(1)} GB in ${(tookMs / 1000).toFixed(0)} s`,
  };
}

/** Of bytes that cannot be compressed, and are not: what counts is how much there is of them. */
async function writeLargeArchive(folder: string): Promise<string> {
  const files = join(folder, 'files/bin');
  await mkdir(files, { recursive: true });
  for (let i = 0; i < LARGE_FILES; i += 1) {
    await writeFile(join(files, `large-${i}`), randomBytes(LARGE_FILE_BYTES));
  }
  const tar = join(folder, 'large.tar');
  await runProgram(['tar', '-cf', tar, '-C', join(folder, 'files'), 'bin']);
  await runProgram(['rm', '-rf', files]);
  const archive = join(folder, 'large.tar.gz');
  await pipeline(createReadStream(tar), createGzip({ level: 0 }), createWriteStream(archive));
  await runProgram(['rm', '-f', tar]);
  return archive;
}
