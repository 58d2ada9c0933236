import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AppError } from '../../../src/domain/errors.ts';
import { ALLOW_NONE, parseAllowList } from '../../../src/transport/http/address-policy.ts';
import { type DownloadOptions, download } from '../../../src/transport/http/download.ts';
import {
  type Answer,
  type FileServer,
  makeCertificate,
  startFileServer,
  startRawServer,
} from './file-server.ts';

const CONTENT = randomBytes(300_000);
const servers: Pick<FileServer, 'close'>[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(answer: Answer, tls?: Parameters<typeof startFileServer>[1]) {
  const server = await startFileServer(answer, tls);
  servers.push(server);
  return server;
}

const ALLOW_LOCAL = parseAllowList('127.0.0.1');

function fetchFrom(url: string, o: Partial<DownloadOptions> = {}): Promise<Buffer> {
  const options: DownloadOptions = {
    url: new URL(url),
    allow: ALLOW_LOCAL,
    verifyTls: true,
    maxBytes: 1_000_000,
    signal: new AbortController().signal,
    ...o,
  };
  return download(options, buffer);
}

async function failureOf(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => null,
    (thrown: AppError) => thrown,
  );
  if (error === null) throw new Error('it was downloaded');
  expect(error.name).toBe('AppError');
  return error;
}

const sendFile: Answer = (_request, response) => {
  response.writeHead(200, { 'content-length': CONTENT.length }).end(CONTENT);
};
const redirectTo =
  (to: string, status = 302): Answer =>
  (_request, response) => {
    response.writeHead(status, { location: to }).end('moved');
  };

describe('a download', () => {
  it('hands on what the server sends, and tells how far it is', async () => {
    const { port } = await serve(sendFile);
    const progress: [number, number | null][] = [];
    const content = await fetchFrom(`http://127.0.0.1:${port}/b.zip`, {
      onProgress: (...now) => void progress.push(now),
    });
    expect(content.equals(CONTENT)).toBe(true);
    expect(progress.at(-1)).toEqual([CONTENT.length, CONTENT.length]);
  });

  it('can come without an announced length, and says so', async () => {
    const { port } = await serve((_request, response) => {
      response.write(CONTENT);
      response.end(CONTENT);
    });
    const totals = new Set<number | null>();
    const content = await fetchFrom(`http://127.0.0.1:${port}/`, {
      onProgress: (_received, total) => void totals.add(total),
    });
    expect([content.length, [...totals]]).toEqual([2 * CONTENT.length, [null]]);
  });

  it('asks by the name, at the address that was looked up, once', async () => {
    const server = await serve(sendFile);
    let asked = 0;
    await fetchFrom(`http://ci.test:${server.port}/b?x=1#part`, {
      resolve: () => {
        asked += 1;
        return Promise.resolve(['127.0.0.1']);
      },
    });
    expect([asked, server.requests]).toEqual([1, [`ci.test:${server.port} /b?x=1`]]);
  });

  it('sends the credentials of its URL to that origin alone, and never shows them', async () => {
    const seen: (string | undefined)[] = [];
    const other = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(404).end();
    });
    const first = await serve((request, response) => {
      seen.push(request.headers.authorization);
      const to = request.url === '/a' ? '/b' : `http://127.0.0.1:${other.port}/c`;
      response.writeHead(301, { location: to }).end();
    });
    const error = await failureOf(fetchFrom(`http://me:p%40ss@127.0.0.1:${first.port}/a`));
    const basic = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    expect(seen).toEqual([basic, basic, undefined]);
    expect(JSON.stringify([error.message, error.details])).not.toMatch(/p%40ss|p@ss|me:/);
  });
});

describe('a download is refused', () => {
  it.each([
    ['loopback', '127.0.0.1'],
    ['a private network', '10.1.2.3'],
    ['the metadata service', '169.254.169.254'],
    ['mapped loopback', '::ffff:127.0.0.1'],
    ['NAT64', '64:ff9b::7f00:1'],
  ])('where the name leads to %s', async (_what, address) => {
    const server = await serve(sendFile);
    const error = await failureOf(
      fetchFrom(`http://evil.test:${server.port}/`, {
        allow: ALLOW_NONE,
        resolve: () => Promise.resolve([address]),
      }),
    );
    expect(error).toMatchObject({ code: 'indirect_url_refused', details: { address } });
    expect(server.requests).toEqual([]);
  });

  it('where localhost is what the system says it is', async () => {
    const { port } = await serve(sendFile);
    const error = await failureOf(fetchFrom(`http://localhost:${port}/`, { allow: ALLOW_NONE }));
    expect(error.code).toBe('indirect_url_refused');
  });

  it('where a redirect leads to a forbidden address, or to no web address', async () => {
    const inner = await serve(sendFile);
    for (const to of [
      `http://127.0.0.2:${inner.port}/`,
      'http://169.254.169.254/latest',
      'http://[::1]/',
      'file:///etc/passwd',
    ]) {
      const { port } = await serve(redirectTo(to));
      const error = await failureOf(fetchFrom(`http://127.0.0.1:${port}/`));
      expect(error.code, to).toBe('indirect_url_refused');
    }
    expect(inner.requests).toEqual([]);
  });

  it('where a name that was public a moment ago is not any more', async () => {
    const server = await serve(redirectTo('/again'));
    const answers = [['127.0.0.1'], ['127.0.0.2']];
    const error = await failureOf(
      fetchFrom(`http://rebind.test:${server.port}/`, {
        resolve: () => Promise.resolve(answers.shift() ?? []),
      }),
    );
    expect([error.code, server.requests.length]).toEqual(['indirect_url_refused', 1]);
  });

  it.each([
    ['is compressed on the way', { 'content-encoding': 'gzip' }, 'Content-Encoding'],
    ['is compressed twice', { 'content-encoding': 'identity, br' }, 'Content-Encoding'],
  ])('where the content %s', async (_what, headers, reason) => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    const { port } = await serve((_request, response) => {
      response.writeHead(200, headers).end(bomb);
    });
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${port}/`));
    expect([error.code, error.message]).toEqual([
      'download_failed',
      expect.stringContaining(reason),
    ]);
  });

  it('where it would be too large, before its content is read', async () => {
    const { port } = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 2_000_000 }).flushHeaders();
    });
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${port}/`));
    expect(error.code).toBe('payload_too_large');
  });
});

it('addresses that are not allowed are left out, and those that are allowed are used', async () => {
  const { port } = await serve(sendFile);
  const content = await fetchFrom(`http://both.test:${port}/`, {
    resolve: () => Promise.resolve(['::1', '10.0.0.1', '127.0.0.1']),
  });
  expect(content.length).toBe(CONTENT.length);
});

describe('redirects', () => {
  it.each([301, 302, 303, 307, 308])('with %s are followed', async (status) => {
    const target = await serve(sendFile);
    const { port } = await serve(redirectTo(`http://127.0.0.1:${target.port}/b`, status));
    expect((await fetchFrom(`http://127.0.0.1:${port}/`)).length).toBe(CONTENT.length);
  });

  it('end after five', async () => {
    const server = await serve((request, response) => {
      response.writeHead(302, { location: `${request.url}x` }).end();
    });
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${server.port}/`));
    expect([error.code, server.requests.length]).toEqual(['download_failed', 6]);
  });

  it('to nowhere fail', async () => {
    const { port } = await serve((_request, response) => response.writeHead(302).end());
    expect((await failureOf(fetchFrom(`http://127.0.0.1:${port}/`))).code).toBe('download_failed');
  });
});

describe('over TLS', () => {
  let tls: { key: Buffer; cert: Buffer };
  beforeAll(async () => {
    tls = await makeCertificate();
  });
  const local = { resolve: () => Promise.resolve(['127.0.0.1']) };

  it('a certificate that nobody signed is refused unless verify=false, each time anew', async () => {
    const { port, requests } = await serve(sendFile, tls);
    const url = `https://localhost:${port}/`;
    for (let round = 0; round < 2; round += 1) {
      const error = await failureOf(fetchFrom(url, local));
      expect(error).toMatchObject({
        code: 'download_failed',
        details: { reason: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
      });
      expect(error.message).toContain('verify=false');
      expect(requests.length).toBe(round);
      expect((await fetchFrom(url, { ...local, verifyTls: false })).length).toBe(CONTENT.length);
    }
  });

  it('the guard holds with verify=false too', async () => {
    const { port, requests } = await serve(sendFile, tls);
    const error = await failureOf(
      fetchFrom(`https://localhost:${port}/`, { ...local, allow: ALLOW_NONE, verifyTls: false }),
    );
    expect([error.code, requests]).toEqual(['indirect_url_refused', []]);
  });

  it('a redirect to plain http fails', async () => {
    const plain = await serve(sendFile);
    const { port } = await serve(redirectTo(`http://127.0.0.1:${plain.port}/`), tls);
    const error = await failureOf(
      fetchFrom(`https://localhost:${port}/`, { ...local, verifyTls: false }),
    );
    expect([error.code, plain.requests]).toEqual(['download_failed', []]);
  });
});

describe('a download ends', () => {
  const patient = { connectMs: 60_000, idleMs: 60_000, totalMs: 60_000 };

  it.each([204, 206, 304, 401, 404, 500, 503])('when the server answers %s', async (status) => {
    const { port } = await serve((_request, response) => response.writeHead(status).end());
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${port}/`));
    expect([error.code, error.message]).toEqual([
      'download_failed',
      expect.stringContaining(String(status)),
    ]);
  });

  it('at the size limit when the content has no announced length and no end', async () => {
    const { port } = await serve((_request, response) => {
      const more = (): void => {
        while (response.write(CONTENT));
        response.once('drain', more);
      };
      more();
    });
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${port}/`));
    expect([error.code, error.details]).toEqual(['payload_too_large', { max_bytes: 1_000_000 }]);
  });

  it.each<[string, Answer]>([
    ['says nothing', () => {}],
    ['stops in the middle', (_request, response) => void response.write(CONTENT)],
  ])('when the server %s', async (_what, answer) => {
    const { port } = await serve(answer);
    const error = await failureOf(
      fetchFrom(`http://127.0.0.1:${port}/`, { limits: { ...patient, idleMs: 300 } }),
    );
    expect([error.code, error.message]).toEqual([
      'download_failed',
      expect.stringContaining('silent'),
    ]);
  });

  it('when its time is over, however busily the server drips', async () => {
    const { port } = await serve((_request, response) => {
      const timer = setInterval(() => response.write('x'), 20);
      response.once('close', () => clearInterval(timer));
    });
    const limits = { ...patient, totalMs: 500 };
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${port}/`, { limits }));
    expect(error.message).toContain('not complete after');
  });

  it('when the name has no address, or nobody says in time', async () => {
    for (const resolve of [
      () => Promise.resolve([]),
      () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' })),
      () => sleep(60_000, [], { ref: false }),
    ]) {
      const limits = { ...patient, connectMs: 300 };
      const work = fetchFrom('http://nowhere.test/', { resolve, limits });
      expect((await failureOf(work)).code).toBe('download_failed');
    }
  });

  it('when nobody listens', async () => {
    const server = await startFileServer(sendFile);
    await server.close();
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${server.port}/`));
    expect(error).toMatchObject({ code: 'download_failed' });
    expect(error.message).toContain('ECONNREFUSED');
  });

  it.each([
    ['breaks off', 'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc'],
    ['breaks off a chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nabc'],
    ['speaks no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['sends endless headers', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(20_000)}\r\n`],
    ['closes at once', ''],
  ])('when the server %s', async (_what, bytes) => {
    const server = await startRawServer((socket) => socket.end(bytes));
    servers.push(server);
    const error = await failureOf(fetchFrom(`http://127.0.0.1:${server.port}/`));
    expect(error.code).toBe('download_failed');
  });

  it('with the reason of its signal, and lets the connection go', async () => {
    let onClose = (): void => {};
    const closed = new Promise<void>((resolve) => {
      onClose = resolve;
    });
    const { port } = await serve((request, response) => {
      request.socket.once('close', onClose);
      response.write(CONTENT);
    });
    const abort = new AbortController();
    const reason = new Error('the worker stops');
    const work = fetchFrom(`http://127.0.0.1:${port}/`, {
      signal: abort.signal,
      onProgress: () => abort.abort(reason),
    });
    await expect(work).rejects.toBe(reason);
    await closed;
  });

  it('with what its consumer throws', async () => {
    const { port } = await serve(sendFile);
    const options: DownloadOptions = {
      url: new URL(`http://127.0.0.1:${port}/`),
      allow: ALLOW_LOCAL,
      verifyTls: true,
      maxBytes: 1_000_000,
      signal: new AbortController().signal,
    };
    const reason = new Error('the disk is full');
    await expect(download(options, () => Promise.reject(reason))).rejects.toBe(reason);
  });
});
