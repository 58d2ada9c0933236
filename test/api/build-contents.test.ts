import { readdir, readFile, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { finishStoringBuild, startStoringBuild } from '../../src/store/builds.ts';
import { type TarEntry, tarGz } from '../depot/archive-builders.ts';
import { noise } from '../depot/fixtures.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

let api: TestApi;
let port: number;
const A = '/app/shop';

beforeAll(async () => {
  api = await startTestApi();
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  ({ port } = api.app.server.address() as AddressInfo);
  await api.call('PUT', '/app?app_name=shop');
  await storeBuild('one', [
    { name: 'bin/run', content: '#!/bin/sh\n', mode: 0o755 },
    { name: 'bin/old', content: 'old' },
    { name: 'lib/ä b"c\n', content: 'x' },
    { name: 'lib.txt', content: '12345' },
    { name: 'link', type: '2', target: 'lib.txt' },
  ]);
  await storeBuild('two', [
    { name: 'bin/run', content: '#!/bin/sh\n' },
    { name: 'lib/ä b"c\n', content: 'xyz' },
    { name: 'lib.txt', content: '12345' },
    { name: 'new', content: 'new!' },
  ]);
  await api.call('PUT', `${A}/builds?build_name=empty`);
  await api.call('PUT', `${A}/packagemaps?name=map`, {
    body: {
      packages: {
        programs: { patterns: ['bin/*', 'sbin/*'], remove_prefix: 'bin/', prefix: 'p/' },
        nothing: { patterns: ['none/**'] },
      },
    },
  });
  await api.call('PUT', `${A}/packagemaps?name=clash`, {
    body: { packages: { all: { patterns: ['**'], remove_prefix: 'bin/' } } },
  });
});
afterAll(() => api.close());

/** A stored build, as a worker would make it. */
async function storeBuild(name: string, entries: readonly TarEntry[]): Promise<void> {
  await api.call('PUT', `${A}/builds?build_name=${name}`);
  const { database, depot } = api.services;
  const row = await database.db.build.findFirstOrThrow({ where: { name } });
  const archivePath = join(api.dataDirectory, `${name}.tgz`);
  await writeFile(archivePath, tarGz(entries));
  await depot.createRepository(row.applicationId);
  const master = await depot.ingestBuild({
    applicationId: row.applicationId,
    buildId: row.id,
    archivePath,
    fileType: 'tar.gz',
  });
  await startStoringBuild(database.db, row.id, { fileType: 'tar.gz', sizeBytes: 1, sha256: '' });
  await finishStoringBuild(database.db, row.id, [{ name: 'master', ...master }]);
}

describe('the packages of a build', () => {
  it('are listed by name, or with what is in them', async () => {
    const names = await api.call('GET', `${A}/builds/one/packages`);
    expect(names).toMatchObject({ status: 200 });
    expect(names.body).toEqual({ application: 'shop', build_name: 'one', packages: ['master'] });
    const { packages } = (await api.call('GET', `${A}/builds/one`)).body;
    const details = await api.call('GET', `${A}/builds/one/packages?details=true`);
    expect(details.body.packages).toEqual([{ name: 'master', ...packages.master }]);
    expect((await api.call('GET', `${A}/builds/empty/packages`)).body.packages).toEqual([]);
    expect((await api.call('GET', `${A}/builds/none/packages`)).status).toBe(404);
    expect((await api.call('GET', `${A}/builds/one/packages?detail=true`)).status).toBe(400);
  });

  it('come page by page', async () => {
    await api.call('PUT', `${A}/builds?build_name=three`);
    const { db } = api.services.database;
    const { id: buildId } = await db.build.findFirstOrThrow({ where: { name: 'three' } });
    const tree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
    await db.package.createMany({
      data: ['master', 'Web', 'api', 'web'].map((name) => ({
        buildId,
        name,
        tree,
        fileCount: 0,
        sizeBytes: 0,
      })),
    });
    const page = async (query: string) =>
      (await api.call('GET', `${A}/builds/three/packages?${query}`)).body;
    expect(await page('limit=3')).toMatchObject({
      packages: ['Web', 'api', 'master'],
      next: 'master',
    });
    const last = await page('limit=3&after=master');
    expect(last.packages).toEqual(['web']);
    expect(last).not.toHaveProperty('next');
  });
});

const ONE = [
  { path: 'bin/old', mode: '100644', bytes: 3 },
  { path: 'bin/run', mode: '100755', bytes: 10 },
  { path: 'lib.txt', mode: '100644', bytes: 5 },
  { path: 'lib/ä b"c\n', mode: '100644', bytes: 1 },
  { path: 'link', mode: '120000', bytes: 7 },
];

describe('the files of a package', () => {
  const url = `${A}/builds/one/packages/master/files`;

  it('are listed with mode and size, all of them', async () => {
    const reply = await api.call('GET', url);
    expect(reply.status).toBe(200);
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(reply.body).toEqual({
      application: 'shop',
      build: 'one',
      package: 'master',
      files: ONE,
    });
  });

  it('come in pages', async () => {
    const seen: unknown[] = [];
    let after = '';
    for (let page = 0; page < 3; page += 1) {
      const reply = await api.call('GET', `${url}?limit=2${after}`);
      seen.push(...reply.body.files);
      expect(reply.body.next).toBe(page < 2 ? ONE[page * 2 + 1]?.path : undefined);
      after = `&after=${encodeURIComponent(reply.body.next)}`;
    }
    expect(seen).toEqual(ONE);
    const rest = await api.call('GET', `${url}?after=${encodeURIComponent('lib.u')}`);
    expect(rest.body.files).toEqual(ONE.slice(3));
    expect((await api.call('GET', `${url}?limit=5`)).body.next).toBeUndefined();
  });

  it('of a very large package are sent as they are read, and left when the client goes away', async () => {
    const entries = Array.from({ length: 40_000 }, (_, index) => ({
      name: `d${index % 50}/${'long'.repeat(20)}-${index}`,
      content: '',
    }));
    await storeBuild('huge', entries);
    const huge = `${A}/builds/huge/packages/master/files`;
    expect((await api.call('GET', huge)).body.files.length).toBe(40_000);
    await abandon(huge);
  });

  it.each([
    [`${A}/builds/one/packages/none/files`, 404, 'not_found'],
    [`${A}/builds/none/packages/master/files`, 404, 'not_found'],
    [`${A}/builds/empty/packages/master/files`, 409, 'conflict'],
    [`${url}?limit=0`, 400, 'invalid_input'],
    [`${url}?details=maybe`, 400, 'unknown_parameter'],
  ])('are refused: %s', async (path, status, code) => {
    const reply = await api.call('GET', path);
    expect([reply.status, reply.body.error.code]).toEqual([status, code]);
  });
});

describe('the difference between builds', () => {
  it('names what is added, modified and deleted, with sizes', async () => {
    const reply = await api.call('GET', `${A}/builds/two/diff?from=one`);
    expect([reply.status, reply.body]).toEqual([
      200,
      {
        application: 'shop',
        build: 'two',
        from: 'one',
        package: 'master',
        added: [{ path: 'new', bytes: 4 }],
        modified: [
          { path: 'bin/run', bytes: 10 },
          { path: 'lib/ä b"c\n', bytes: 3 },
        ],
        deleted: [
          { path: 'bin/old', bytes: 3 },
          { path: 'link', bytes: 7 },
        ],
      },
    ]);
  });

  it('of a build and itself is empty', async () => {
    const reply = await api.call('GET', `${A}/builds/two/diff?from=two&package=master`);
    expect(reply.body).toMatchObject({ added: [], modified: [], deleted: [] });
  });

  it.each([
    [`${A}/builds/two/diff`, 400, 'invalid_input'],
    [`${A}/builds/two/diff?from=none`, 400, 'invalid_input'],
    [`${A}/builds/none/diff?from=two`, 404, 'not_found'],
    [`${A}/builds/two/diff?from=empty`, 409, 'conflict'],
    [`${A}/builds/empty/diff?from=two`, 409, 'conflict'],
    [`${A}/builds/two/diff?from=one&package=none`, 400, 'invalid_input'],
    [`${A}/builds/two/diff?form=one`, 400, 'unknown_parameter'],
  ])('is refused: %s', async (path, status, code) => {
    const reply = await api.call('GET', path);
    expect([reply.status, reply.body.error.code]).toEqual([status, code]);
  });
});

describe('the preview of a package map', () => {
  const url = `${A}/packagemaps/map/preview`;

  it('tells what each package would hold and which patterns match nothing, and stores nothing', async () => {
    const before = await api.call('GET', `${A}/builds/one`);
    const reply = await api.call('POST', `${url}?build_name=one`);
    expect([reply.status, reply.body]).toEqual([
      200,
      {
        application: 'shop',
        packagemap: 'map',
        build: 'one',
        packages: {
          programs: {
            files: [
              { from: 'bin/old', to: 'p/old', bytes: 3 },
              { from: 'bin/run', to: 'p/run', bytes: 10 },
            ],
            bytes: 13,
            unmatched_patterns: ['sbin/*'],
          },
          nothing: { files: [], bytes: 0, unmatched_patterns: ['none/**'] },
        },
      },
    ]);
    expect((await api.call('GET', `${A}/builds/one`)).body).toEqual(before.body);
  });

  it('is given anew for an Idempotency-Key that was used for it', async () => {
    const keyed = { headers: { 'idempotency-key': 'preview' } };
    const first = await api.call('POST', `${url}?build_name=one`, keyed);
    const second = await api.call('POST', `${url}?build_name=one`, keyed);
    expect([second.status, second.body]).toEqual([200, first.body]);
  });

  it('says of two files that would end at one name what they are', async () => {
    await storeBuild('doubled', [{ name: 'bin/x' }, { name: 'x' }]);
    const reply = await api.call('POST', `${A}/packagemaps/clash/preview?build_name=doubled`);
    expect([reply.status, reply.body.error.code]).toEqual([422, 'package_map_conflict']);
    expect(reply.body.error.details).toEqual({ package: 'all', files: ['bin/x', 'x'] });
  });

  it.each([
    [url, 400, 'invalid_input'],
    [`${url}?build_name=none`, 400, 'invalid_input'],
    [`${url}?build_name=empty`, 409, 'conflict'],
    [`${A}/packagemaps/none/preview?build_name=one`, 404, 'not_found'],
  ])('is refused: %s', async (path, status, code) => {
    const reply = await api.call('POST', path);
    expect([reply.status, reply.body.error.code]).toEqual([status, code]);
  });
});

describe('the download of a package', () => {
  it('that the client breaks off ends what made it', async () => {
    const content = noise(40_000_000);
    await storeBuild('large', [{ name: 'large', content }]);
    await abandon(`${A}/builds/large/packages/master`);
    await abandon(`${A}/builds/large/packages/master?file_type=zip`);
  });
});

it('nothing is said by words that name nothing', async () => {
  for (const path of [`${A}/builds/one/files`, '/docs/none', '/docs/static/none', `${A}/x/y/z`]) {
    const reply = await api.call('GET', path);
    expect(reply.text, path).not.toContain('undefined');
    expect(reply.status, path).toBe(404);
  }
});

/** Reads the beginning of a reply, goes away, and waits until no git works for it any more. */
async function abandon(url: string): Promise<void> {
  const client = httpRequest({ port, path: url, headers: { 'auth-token': TOKEN }, agent: false });
  client.on('error', () => undefined);
  const begun = new Promise<void>((resolve, reject) => {
    client.once('response', (response) => {
      expect(response.statusCode).toBe(200);
      response.once('data', () => {
        response.pause();
        resolve();
      });
      response.on('error', () => undefined);
    });
    client.once('close', () => reject(new Error('the reply had no content')));
  });
  client.end();
  await begun;
  expect(await countGits(), 'the reply was over before it could be left').toBeGreaterThan(0);
  client.destroy();
  for (let tries = 0; (await countGits()) > 0; tries += 1) {
    if (tries === 1200) throw new Error('git still works for a client that has gone');
    await sleep(50);
  }
}

/** The processes that work in this test's depot. */
async function countGits(): Promise<number> {
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    processes.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return commands.filter((c) => c.startsWith('git\0') && c.includes(api.dataDirectory)).length;
}
