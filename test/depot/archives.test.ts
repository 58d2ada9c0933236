import { createHash } from 'node:crypto';
import { mkdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type TarEntry, tarGz } from './archive-builders.ts';
import { type DepotFixture, failure, filter, noise, openDepotFixture } from './fixtures.ts';

let fixture: DepotFixture;
let builds = 0;

const ROOT_TIME = new Date('2026-03-01T12:00:00Z');
const FILES: readonly TarEntry[] = [
  { name: 'bin/run', content: '#!/bin/sh\n', mode: 0o755 },
  { name: 'bin/link', type: '2', target: '../lib/größe.txt' },
  { name: 'lib/größe.txt', content: 'ü' },
  { name: 'empty', content: '' },
  { name: '.hidden', content: 'h' },
  { name: 'large', content: noise(3_000_000) },
  { name: `deep/${'x'.repeat(120)}/${'y'.repeat(120)}`, content: 'deep' },
];
const ODD: readonly TarEntry[] = [
  { name: 'a\\b', content: 'backslash' },
  { name: 'ab:c/d', content: 'colon' },
  { name: 'l\\k', type: '2', target: 'x\\y' },
];

beforeAll(async () => {
  fixture = await openDepotFixture();
  return fixture.close;
});

async function storeTree(entries: readonly TarEntry[]): Promise<string> {
  const { tree } = await fixture.depot.ingestBuild({
    applicationId: fixture.applicationId,
    buildId: `build-${++builds}`,
    archivePath: await fixture.spool(tarGz(entries)),
    fileType: 'tar.gz',
  });
  return tree;
}

async function download(tree: string, fileType: 'zip' | 'tar.gz'): Promise<Buffer> {
  const stream = await open(tree, fileType);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function open(tree: string, fileType: 'zip' | 'tar.gz'): Promise<Readable> {
  const { depot, applicationId } = fixture;
  return await depot.writeArchive({ applicationId, tree, fileType, rootTime: ROOT_TIME });
}

async function ingested(bytes: Buffer, fileType: 'zip' | 'tar.gz'): Promise<string> {
  const { tree } = await fixture.depot.ingestBuild({
    applicationId: fixture.applicationId,
    buildId: `build-${++builds}`,
    archivePath: await fixture.spool(bytes),
    fileType,
  });
  return tree;
}

describe.each(['zip', 'tar.gz'] as const)('a download as %s', (fileType) => {
  it('gives the same tree when it is uploaded again', async () => {
    const tree = await storeTree(FILES);
    expect(await ingested(await download(tree, fileType), fileType)).toBe(tree);
  });

  it('is the same byte by byte each time', async () => {
    const tree = await storeTree(FILES);
    const digests = [await download(tree, fileType), await download(tree, fileType)].map((bytes) =>
      createHash('sha256').update(bytes).digest('hex'),
    );
    expect(digests[0]).toBe(digests[1]);
  });

  it('unpacks with the usual tools: modes, links, times', async () => {
    const folder = fixture.path(`unpacked-${fileType}`);
    await mkdir(folder);
    const bytes = await download(await storeTree(FILES), fileType);
    if (fileType === 'zip') {
      await writeFile(join(folder, 'x.zip'), bytes);
      await filter('python3', ['-c', UNZIP, join(folder, 'x.zip'), folder], Buffer.alloc(0));
    } else {
      await filter('tar', ['-C', folder, '-xzf', '-'], bytes);
      expect(await readlink(join(folder, 'bin/link'))).toBe('../lib/größe.txt');
      expect((await stat(join(folder, 'empty'))).mtime).toEqual(ROOT_TIME);
      expect((await stat(join(folder, 'bin/run'))).mode & 0o777).toBe(0o755);
      expect((await stat(join(folder, 'empty'))).mode & 0o777).toBe(0o644);
    }
    expect((await readFile(join(folder, 'large'))).equals(noise(3_000_000))).toBe(true);
    expect(await readFile(join(folder, 'lib/größe.txt'), 'utf8')).toBe('ü');
  });

  it('of nothing is an archive of nothing', async () => {
    const bytes = await download('4b825dc642cb6eb9a060e54bf8d69288fbee4904', fileType);
    expect(bytes.length).toBeGreaterThan(20);
  });

  it('of no tree fails before there is a stream', async () => {
    await failure(open('1'.repeat(40), fileType), 'storage_failed');
  });

  it('that is broken off ends its processes', async () => {
    const tree = await storeTree([{ name: 'huge', content: noise(30_000_000) }, { name: 'next' }]);
    const stream = await open(tree, fileType);
    for await (const chunk of stream) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(await gitChildren()).toEqual([]);
  });
});

/** Plain unpacking, without a check for links. */
const UNZIP = 'import sys,zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])';

it('a tar keeps names that have a backslash or a colon, and a zip is refused for them', async () => {
  const tree = await storeTree(ODD);
  expect(await ingested(await download(tree, 'tar.gz'), 'tar.gz')).toBe(tree);
  const error = await failure(open(tree, 'zip'), 'invalid_input');
  expect(error.message).toContain('"a\\\\b"');
});

/** The gits that this process has running; a moment is allowed for their end. */
async function gitChildren(): Promise<string[]> {
  for (let attempt = 0; ; attempt += 1) {
    const list = await filter(
      'ps',
      ['-o', 'comm=', '--ppid', String(process.pid)],
      Buffer.alloc(0),
    );
    const gits = list
      .toString()
      .split('\n')
      .filter((name) => name === 'git');
    if (gits.length === 0 || attempt === 1000) return gits;
    await sleep(20);
  }
}
