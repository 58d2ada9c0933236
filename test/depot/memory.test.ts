import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import { beforeAll, expect, it } from 'vitest';
import { tarEntry } from './archive-builders.ts';
import { type DepotFixture, noise, openDepotFixture } from './fixtures.ts';

const MAX_RSS_MIB = 250;
const MIB = 1024 ** 2;

let fixture: DepotFixture;

beforeAll(async () => {
  fixture = await openDepotFixture();
  return fixture.close;
});

/** 20,000 small files that are all different. */
function* manyFiles(): Generator<Buffer> {
  for (let index = 0; index < 20_000; index += 1) {
    const name = `packages/p${index % 200}/src/File${index}.ts`;
    yield tarEntry({ name, content: `export const value = ${index};\n`.repeat(20) });
  }
  yield Buffer.alloc(1024);
}

/** One file of 512 MiB, 16 of 32 MiB, mostly zeros so that the disks stay out of it. */
function* largeFiles(): Generator<Buffer> {
  const chunk = Buffer.concat([noise(4096), Buffer.alloc(MIB - 4096)]);
  for (const [count, mebibytes] of [
    [1, 512],
    [16, 32],
  ] as const) {
    for (let index = 0; index < count; index += 1) {
      const header = tarEntry({
        name: `large-${mebibytes}-${index}`,
        claimedSizeBytes: mebibytes * MIB,
      });
      yield header;
      for (let written = 0; written < mebibytes; written += 1) yield chunk;
    }
  }
  yield Buffer.alloc(1024);
}

it.each([
  ['20,000 files', manyFiles, 20_000],
  ['a gibibyte', largeFiles, 17],
] as const)(
  'a build of %s is stored, cut and downloaded in bounded memory',
  async (name, entries, files) => {
    const archivePath = fixture.path(`${files}.tar.gz`);
    await pipeline(
      Readable.from(entries()),
      createGzip({ level: 1 }),
      createWriteStream(archivePath),
    );
    // In a process of its own, whose peak is its own.
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--import',
      'tsx',
      join(import.meta.dirname, 'memory-probe.ts'),
      fixture.directory,
      fixture.applicationId,
      archivePath,
    ]);
    const probe: { files: number; packageFiles: number; maxRssMiB: number } = JSON.parse(stdout);
    expect(probe).toMatchObject({ files, packageFiles: files });
    expect(probe.maxRssMiB, name).toBeLessThan(MAX_RSS_MIB);
  },
);
