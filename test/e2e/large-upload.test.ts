import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tarEntry } from '../depot/archive-builders.ts';
import { noise } from '../depot/fixtures.ts';
import { createApiClient } from '../support/api-client.ts';
import { startMuster, type TestMuster } from '../support/muster.ts';

const MIB = 1024 ** 2;
const MAX_RSS_MIB = 400;

let muster: TestMuster;
beforeAll(async () => {
  muster = await startMuster('embedded');
  await createApiClient(muster)('PUT', '/app?app_name=shop');
});
afterAll(() => muster.close());

/** A gibibyte in 16 files; a sixteenth of it does not compress. */
function* gibibyte(): Generator<Buffer> {
  const chunk = Buffer.concat([noise(64 * 1024), Buffer.alloc(MIB - 64 * 1024)]);
  for (let file = 0; file < 16; file += 1) {
    yield tarEntry({ name: `assets/${file}.bin`, claimedSizeBytes: 64 * MIB });
    for (let written = 0; written < 64; written += 1) yield chunk;
  }
  yield Buffer.alloc(1024);
}

/** 20,000 small files that are all different. */
function* manyFiles(): Generator<Buffer> {
  for (let index = 0; index < 20_000; index += 1) {
    const name = `packages/p${index % 200}/src/File${index}.ts`;
    yield tarEntry({ name, content: `export const value = ${index};\n`.repeat(20) });
  }
  yield Buffer.alloc(1024);
}

/** Packs and uploads at the same time, so that the archive never lies anywhere on this side. */
async function upload(build: string, entries: Iterable<Buffer>): Promise<unknown> {
  await createApiClient(muster)('PUT', `/app/shop/builds?build_name=${build}`);
  const body = Readable.from(entries).pipe(createGzip({ level: 1 }));
  const reply = await fetch(`${muster.url}/app/shop/builds/${build}?file_type=tar.gz&wait=120`, {
    method: 'POST',
    headers: { authorization: `Bearer ${muster.token}`, 'content-type': 'application/gzip' },
    body: Readable.toWeb(body) as ReadableStream<Uint8Array>,
    duplex: 'half',
  });
  return { status: reply.status, body: await reply.json() };
}

/** The most memory that Muster has had since it started, as Linux counts it. */
async function peakRssMiB(): Promise<number> {
  const [pid] = muster.processIds();
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
}

describe('Muster stays small', () => {
  it('while a build of a gibibyte is uploaded and stored', async () => {
    expect(await upload('large', gibibyte())).toMatchObject({
      status: 200,
      body: { state: 'stored', packages: { master: { files: 16, bytes: 1024 * MIB } } },
    });
    expect(await peakRssMiB()).toBeLessThan(MAX_RSS_MIB);
  });

  it('while a build of 20,000 files is uploaded, stored, listed and downloaded', async () => {
    expect(await upload('many', manyFiles())).toMatchObject({
      status: 200,
      body: { state: 'stored', packages: { master: { files: 20_000 } } },
    });
    const call = createApiClient(muster);
    const { body } = await call('GET', '/app/shop/builds/many/packages/master/files');
    expect(body.files.length).toBe(20_000);
    const download = await call('GET', '/app/shop/builds/many/packages/master');
    expect([download.status, download.headers.get('content-type')]).toEqual([
      200,
      'application/gzip',
    ]);
    expect(await peakRssMiB()).toBeLessThan(MAX_RSS_MIB);
  });
});
