import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createHandlers } from '../../src/jobs/handlers.ts';
import { startWorker, type Worker } from '../../src/jobs/worker.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { startTestApi, type TestApi } from '../api/test-api.ts';
import { tarGz } from '../depot/archive-builders.ts';
import {
  type Answer,
  type FileServer,
  makeCertificate,
  startFileServer,
} from '../transport/http/file-server.ts';

const ARCHIVE = tarGz([
  { name: 'bin/app', content: randomBytes(200_000) },
  { name: 'a', content: 'a' },
]);
const SHA256 = createHash('sha256').update(ARCHIVE).digest('hex');

let api: TestApi;
let worker: Worker | null = null;
let servers: FileServer[] = [];
let builds = 0;

beforeAll(async () => {
  api = await startTestApi({
    settings: { MUSTER_INDIRECT_ALLOW: 'localhost', MUSTER_UPLOAD_MAX_BYTES: '1000000' },
  });
  await api.call('PUT', '/app?app_name=shop');
});
afterEach(async () => {
  await worker?.close();
  worker = null;
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
});
afterAll(() => api.close());

function work(): void {
  const { config, database, depot, queue, log } = api.services;
  const handlers = createHandlers({ config, database, depot, transport: createTransport() });
  worker = startWorker({ database, queue, handlers, log, concurrency: 2 });
}

async function serve(answer: Answer, tls?: Parameters<typeof startFileServer>[1]) {
  const server = await startFileServer(answer, tls);
  servers.push(server);
  return server;
}
const sendArchive: Answer = (_request, response) => {
  response.writeHead(200, { 'content-length': ARCHIVE.length }).end(ARCHIVE);
};

/** Starts the upload of a new build from a URL. */
async function upload(url: string, query: Record<string, string> = {}) {
  builds += 1;
  const path = `/app/shop/builds/b${builds}`;
  await api.call('PUT', `/app/shop/builds?build_name=b${builds}`);
  const parameters = new URLSearchParams({ file_type: 'tar.gz', indirect_url: url, ...query });
  return { path, reply: await api.call('POST', `${path}?${parameters}`) };
}

const spooled = (): Promise<string[]> =>
  readdir(join(api.dataDirectory, 'uploads')).catch(() => []);

describe('a build', () => {
  it('is fetched from a URL, checked, stored, and its job tells how that went', async () => {
    const { port } = await serve(sendArchive);
    work();
    const { path, reply } = await upload(`http://u:pw@localhost:${port}/b.tgz?sig=hidden`, {
      sha256: SHA256,
      wait: '20',
    });
    expect(reply.status).toBe(200);
    expect(reply.body).toMatchObject({
      state: 'stored',
      sha256: SHA256,
      size_bytes: ARCHIVE.length,
      packages: { master: { files: 2, bytes: 200_001 } },
      job: { kind: 'fetch_build', status: 'succeeded' },
    });
    const job = await api.call('GET', `/job/${reply.body.job.job_id}?results=true`);
    const told = job.body.results.map((result: { kind: string }) => result.kind);
    expect(told).toEqual(expect.arrayContaining(['download_started', 'downloaded']));
    expect(job.text).toContain(`http://localhost:${port}/b.tgz`);
    for (const text of [job.text, api.logLines.join('')]) expect(text).not.toMatch(/hidden|pw@/);
    expect((await api.call('GET', path)).body.state).toBe('stored');
    expect(await spooled()).toEqual([]);
  });

  it('is storing, of unknown size, while it is fetched; another upload is refused', async () => {
    const { path, reply } = await upload('http://localhost:1/b.tgz');
    expect(reply).toMatchObject({
      status: 202,
      headers: { location: `/job/${reply.body.job.job_id}` },
      body: { state: 'storing', size_bytes: null, sha256: null, file_type: 'tar.gz' },
    });
    const again = await api.call('POST', `${path}?file_type=tar.gz&indirect_url=http://x.test/`);
    expect([again.status, again.body.error.code]).toEqual([409, 'build_busy']);
  });

  it('is fetched from the URL although the request carries a form as well', async () => {
    const { port } = await serve(sendArchive);
    work();
    builds += 1;
    await api.call('PUT', `/app/shop/builds?build_name=b${builds}`);
    const query = `file_type=tar.gz&wait=20&indirect_url=http://localhost:${port}/`;
    const reply = await api.call('POST', `/app/shop/builds/b${builds}?${query}`, {
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body: '--b\r\ncontent-disposition: form-data; name="build"; filename="x"\r\n\r\nno archive\r\n--b--\r\n',
    });
    expect(reply).toMatchObject({ status: 200, body: { state: 'stored', sha256: SHA256 } });
  });

  it('is fetched past a bad certificate with verify=false alone', async () => {
    const { port } = await serve(sendArchive, await makeCertificate());
    work();
    const url = `https://localhost:${port}/b.tgz`;
    const strict = await upload(url, { wait: '20' });
    expect([strict.reply.status, strict.reply.body.error.code]).toEqual([422, 'download_failed']);
    const lax = await upload(url, { wait: '20', verify: 'false' });
    expect([lax.reply.status, lax.reply.body.state]).toEqual([200, 'stored']);
  });

  it('is fetched from the beginning by the next worker when one stops in the middle', async () => {
    let requests = 0;
    let isHalfSent = (): void => {};
    const halfSent = new Promise<void>((resolve) => {
      isHalfSent = resolve;
    });
    const { port } = await serve((request, response) => {
      requests += 1;
      if (requests > 1) return sendArchive(request, response);
      response.writeHead(200, { 'content-length': ARCHIVE.length });
      response.write(ARCHIVE.subarray(0, 1000), () => isHalfSent());
    });
    work();
    const { path, reply } = await upload(`http://localhost:${port}/b.tgz`);
    await halfSent;
    await waitUntil(async () => (await spooled()).length === 1);
    // As if the worker had been killed: nobody renews its hold on the job any more.
    const { db } = api.services.database;
    const { job_id: id } = reply.body.job;
    await db.job.update({ where: { id }, data: { worker: 'dead', leaseExpiresAt: new Date(0) } });
    const first = worker;
    worker = null;
    work();
    await waitUntil(async () => (await api.call('GET', path)).body.state === 'stored');
    expect(requests).toBe(2);
    await servers[0]?.close();
    servers = [];
    await first?.close();
    expect(await spooled()).toEqual([]);
    expect((await api.call('GET', path)).body).toMatchObject({ state: 'stored', sha256: SHA256 });
  });
});

describe('a URL', () => {
  it.each([
    'ftp://example.com/b',
    'http://127.0.0.1/b',
    'http://2130706433/',
    'http://169.254.169.254/latest',
    'http://[::1]/b',
    'nonsense',
  ])('that no look-up could save is refused at once: %s', async (url) => {
    const { path, reply } = await upload(url);
    expect([reply.status, reply.body.error.code]).toEqual([400, 'indirect_url_refused']);
    expect((await api.call('GET', path)).body.state).toBe('created');
  });

  it.each<[string, Answer, string, number]>([
    [
      'is of another kind',
      (_request, response) => response.end('PK\x03\x04'.repeat(10)),
      'archive_wrong_type',
      422,
    ],
    [
      'is a web page',
      (_request, response) => response.end('<!doctype html>'),
      'archive_wrong_type',
      422,
    ],
    ['is nothing', (_request, response) => response.end(), 'archive_broken', 422],
    [
      'is broken',
      (_request, response) => response.end(ARCHIVE.subarray(0, 5000)),
      'archive_broken',
      422,
    ],
    [
      'is too large',
      (_request, response) => response.end(Buffer.concat([ARCHIVE, Buffer.alloc(1_000_000)])),
      'payload_too_large',
      413,
    ],
    ['is not there', (_request, response) => response.writeHead(404).end(), 'download_failed', 422],
    [
      'breaks off',
      (request, response) => {
        response.writeHead(200, { 'content-length': ARCHIVE.length });
        response.write(ARCHIVE.subarray(0, 5000), () => request.socket.destroy());
      },
      'download_failed',
      422,
    ],
    [
      'is elsewhere, inside',
      (_request, response) => response.writeHead(302, { location: 'http://10.0.0.1/' }).end(),
      'indirect_url_refused',
      400,
    ],
  ])(
    'whose content %s fails the job, and the build may be uploaded again',
    async (_what, answer, code, status) => {
      const { port } = await serve(answer);
      work();
      const { path, reply } = await upload(`http://localhost:${port}/`, { wait: '20' });
      expect([reply.status, reply.body.error.code]).toEqual([status, code]);
      expect((await api.call('GET', path)).body).toMatchObject({
        state: 'failed',
        error: { code },
      });
      expect(await spooled()).toEqual([]);
      const good = await serve(sendArchive);
      const again = await api.call(
        'POST',
        `${path}?file_type=tar.gz&wait=20&indirect_url=http://localhost:${good.port}/`,
      );
      expect([again.status, again.body.state, again.body.error]).toEqual([200, 'stored', null]);
    },
  );

  it('whose content has another checksum fails the job', async () => {
    const { port } = await serve(sendArchive);
    work();
    const query = { wait: '20', sha256: '0'.repeat(64) };
    const { reply } = await upload(`http://localhost:${port}/`, query);
    expect([reply.status, reply.body.error.code]).toEqual([422, 'checksum_mismatch']);
  });
});

async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('it did not come true in 60 s');
    await sleep(50);
  }
}
