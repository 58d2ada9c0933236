import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { finishStoringBuild, startStoringBuild } from '../../src/store/builds.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

const ARCHIVE = gzipSync(randomBytes(100_000));
const SHA256 = createHash('sha256').update(ARCHIVE).digest('hex');

let api: TestApi;
let port: number;
let builds = 0;

/** A new build of the application `shop`. */
async function newBuild(): Promise<string> {
  builds += 1;
  await api.call('PUT', `/app/shop/builds?build_name=b${builds}`);
  return `/app/shop/builds/b${builds}`;
}
const spooled = (): Promise<string[]> =>
  readdir(join(api.dataDirectory, 'uploads')).catch(() => []);

beforeAll(async () => {
  api = await startTestApi({ settings: { MUSTER_UPLOAD_MAX_BYTES: '20000000' } });
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  ({ port } = api.app.server.address() as AddressInfo);
  await api.call('PUT', '/app?app_name=shop');
});
afterAll(() => api.close());

/** Sends what a real client sends over a real socket. */
async function post(url: string, body: FormData | Uint8Array<ArrayBuffer>, type?: string) {
  const reply = await fetch(`http://127.0.0.1:${port}${url}`, {
    method: 'POST',
    headers: { 'auth-token': TOKEN, ...(type === undefined ? {} : { 'content-type': type }) },
    body,
  });
  // biome-ignore lint/suspicious/noExplicitAny: a test says by its expectations what it expects of a body
  return { status: reply.status, body: (await reply.json()) as any };
}

function form(field: string, content: Blob | string, fileName?: string): FormData {
  const data = new FormData();
  if (typeof content === 'string') data.append(field, content);
  else data.append(field, content, fileName);
  return data;
}

describe('an upload', () => {
  it.each([
    'application/octet-stream',
    'application/gzip',
    'application/x-www-form-urlencoded',
    'application/json',
    undefined,
  ])('is the body itself with the Content-Type %s', async (type) => {
    const url = await newBuild();
    const reply = await post(
      `${url}?file_type=tar.gz&sha256=${SHA256.toUpperCase()}`,
      new Uint8Array(ARCHIVE),
      type,
    );
    expect(reply).toMatchObject({
      status: 202,
      body: {
        state: 'storing',
        sha256: SHA256,
        size_bytes: ARCHIVE.length,
        file_type: 'tar.gz',
        job: { kind: 'store_build', status: 'queued' },
      },
    });
  });

  it('is the file of the form field `build`', async () => {
    const url = await newBuild();
    const blob = new Blob([new Uint8Array(ARCHIVE)]);
    const reply = await post(`${url}?file_type=tar.gz`, form('build', blob, 'x.tar.gz'));
    expect(reply).toMatchObject({ status: 202, body: { sha256: SHA256 } });
  });

  it.each([
    ['another field', () => form('file', new Blob(['x']), 'x'), 'has a field `file`'],
    ['text in the field', () => form('build', 'x'), 'holds text'],
    ['an empty form', () => new FormData(), 'has no field `build`'],
    ['no body', () => new Uint8Array(), 'has no body'],
  ])('is missed with a reason: %s', async (_what, body, reason) => {
    const url = await newBuild();
    const reply = await post(`${url}?file_type=zip`, body());
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toContain(reason);
    expect(reply.body.error.message).toContain('curl -F build=@build.zip');
    expect((await api.call('GET', url)).body.state).toBe('created');
  });

  it.each([
    ['?file_type=zip', 422, 'archive_wrong_type'],
    [`?file_type=tar.gz&sha256=${'0'.repeat(64)}`, 422, 'checksum_mismatch'],
    ['?file_type=rar', 400, 'invalid_input'],
    ['', 400, 'invalid_input'],
    ['?file_type=tar.gz&package_map=none', 400, 'invalid_input'],
    ['?file_type=tar.gz&indirect_url=ftp%3A%2F%2Fx%2Fb.zip', 400, 'indirect_url_refused'],
  ])('with %s is refused as %s %s and leaves nothing behind', async (query, status, code) => {
    const url = await newBuild();
    const before = await spooled();
    const reply = await post(`${url}${query}`, new Uint8Array(ARCHIVE));
    expect([reply.status, reply.body.error.code]).toEqual([status, code]);
    expect((await api.call('GET', url)).body).toMatchObject({ state: 'created', sha256: null });
    expect(await spooled()).toEqual(before);
  });

  it('to a build that is being stored, or is stored, is refused and changes nothing', async () => {
    const url = await newBuild();
    const upload = () => post(`${url}?file_type=tar.gz`, new Uint8Array(ARCHIVE));
    expect((await upload()).status).toBe(202);
    expect(await upload()).toMatchObject({ status: 409, body: { error: { code: 'build_busy' } } });
    const { db } = api.services.database;
    const row = await db.build.findFirstOrThrow({ where: { name: url.split('/').at(-1) ?? '' } });
    await finishStoringBuild(db, row.id, []);
    expect(await upload()).toMatchObject({
      status: 409,
      body: { error: { code: 'build_already_stored' } },
    });
  });

  it('larger than allowed is refused with 413', async () => {
    const url = await newBuild();
    const big = new Uint8Array(20_000_001);
    big.set([0x1f, 0x8b, 8, 0]);
    const reply = await post(`${url}?file_type=tar.gz`, form('build', new Blob([big]), 'x'));
    expect([reply.status, reply.body.error.code]).toEqual([413, 'payload_too_large']);
  });

  it.each([
    [
      'of a form',
      'multipart/form-data; boundary=b',
      '--b\r\ncontent-disposition: form-data; name="build"; filename="x"\r\n\r\n',
    ],
    ['of a body', 'application/octet-stream', ''],
  ])(
    '%s that breaks off leaves the build as it was and nothing in the spool',
    async (_what, type, head) => {
      const url = await newBuild();
      const before = await spooled();
      const client = httpRequest({
        port,
        method: 'POST',
        path: `${url}?file_type=tar.gz`,
        headers: { 'auth-token': TOKEN, 'content-type': type, 'content-length': 5_000_000 },
      });
      client.on('error', () => undefined);
      client.write(Buffer.concat([Buffer.from(head), ARCHIVE]));
      await waitUntil(async () => (await spooled()).length > before.length);
      client.destroy();
      await waitUntil(async () => (await spooled()).length === before.length);
      expect((await api.call('GET', url)).body.state).toBe('created');
      expect((await post(`${url}?file_type=tar.gz`, new Uint8Array(ARCHIVE))).status).toBe(202);
    },
  );

  it.each([
    [
      'as a form',
      'multipart/form-data; boundary=b',
      '--b\r\ncontent-disposition: form-data; name="build"; filename="x"\r\n\r\n',
    ],
    [
      'as a form with another field',
      'multipart/form-data; boundary=b',
      '--b\r\ncontent-disposition: form-data; name="c"; filename="x"\r\n\r\n',
    ],
    ['as a body', 'application/octet-stream', ''],
  ])(
    'that is refused while it comes in, %s, is answered and does not hold its connection',
    async (_what, type, start) => {
      const url = await newBuild();
      const head = `POST ${url}?file_type=zip HTTP/1.1\r\nhost: x\r\nauth-token: ${TOKEN}\r\ncontent-type: ${type}\r\ncontent-length: 50000000\r\n\r\n${start}`;
      const client = connect(port, '127.0.0.1').on('error', () => undefined);
      const answered = new Promise<string>((resolve) => {
        client.once('data', (data) => resolve(data.toString()));
      });
      client.write(Buffer.concat([Buffer.from(head), randomBytes(5_000_000)]));
      expect(await answered).toMatch(/^HTTP\/1.1 4(00|22) /);
      // Some clients send everything before they read the answer.
      const rest = Buffer.alloc(50_000_000 - 5_000_000 - start.length);
      await new Promise((resolve) => client.write(rest, resolve));
      client.destroy();
      await waitUntil(async () => (await openConnections()) === 0);
    },
  );

  it('of a form that ends too early is refused', async () => {
    const url = await newBuild();
    const reply = await post(
      `${url}?file_type=tar.gz`,
      new Uint8Array(
        Buffer.concat([
          Buffer.from('--b\r\ncontent-disposition: form-data; name="build"; filename="x"\r\n\r\n'),
          ARCHIVE,
        ]),
      ),
      'multipart/form-data; boundary=b',
    );
    expect(reply).toMatchObject({ status: 400, body: { error: { code: 'upload_incomplete' } } });
    expect((await api.call('GET', url)).body.state).toBe('created');
  });

  it('that is refused for its token is not read', async () => {
    const url = await newBuild();
    const reply = await fetch(`http://127.0.0.1:${port}${url}?file_type=tar.gz`, {
      method: 'POST',
      headers: { 'auth-token': 'wrong' },
      body: new Uint8Array(ARCHIVE),
    });
    expect(reply.status).toBe(401);
  });
});

describe('a download', () => {
  it('names the file and its type, and is refused for a package that is not there', async () => {
    const url = await newBuild();
    const { db } = api.services.database;
    const name = url.split('/').at(-1) ?? '';
    const row = await db.build.findFirstOrThrow({ where: { name } });
    await api.services.depot.createRepository(row.applicationId);
    await startStoringBuild(db, row.id, { fileType: 'zip', sizeBytes: 1, sha256: '' });
    // The empty tree is in every depot.
    const tree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
    await finishStoringBuild(db, row.id, [{ name: 'master', tree, files: 0, bytes: 0 }]);
    for (const [query, type, extension] of [
      ['', 'application/gzip', 'tar.gz'],
      ['?file_type=zip', 'application/zip', 'zip'],
    ]) {
      const reply = await fetch(`http://127.0.0.1:${port}${url}/packages/master${query}`, {
        headers: { 'auth-token': TOKEN },
      });
      expect(reply.status).toBe(200);
      expect(reply.headers.get('content-type')).toBe(type);
      expect(reply.headers.get('content-disposition')).toBe(
        `attachment; filename="${name}-master.${extension}"`,
      );
      expect((await reply.arrayBuffer()).byteLength).toBeGreaterThan(0);
    }
    const missing = await api.call('GET', `${url}/packages/binaries`);
    expect([missing.status, missing.body.error.code]).toEqual([404, 'not_found']);
  });
});

/** Connections that the API holds, but for those that clients keep for a next request. */
async function openConnections(): Promise<number> {
  api.app.server.closeIdleConnections();
  return new Promise((resolve, reject) => {
    api.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}

async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('it did not come true in 60 s');
    await sleep(20);
  }
}
