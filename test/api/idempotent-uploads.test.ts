import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

const pack = (): Buffer => gzipSync(randomBytes(1_000_000), { level: 0 });
/** Two archives of one length; larger than any buffer on the way. */
const ONE = pack();
const OTHER = pack();
const CONFLICT = { status: 409, body: { error: { code: 'idempotency_key_reused' } } };

let api: TestApi;
let port: number;
let url: string;
let key: string;
let builds = 0;
beforeAll(async () => {
  api = await startTestApi();
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  ({ port } = api.app.server.address() as AddressInfo);
  await api.call('PUT', '/app?app_name=shop');
});
afterAll(() => api.close());
beforeEach(async () => {
  builds += 1;
  key = `key-${builds}`;
  url = `/app/shop/builds/b${builds}`;
  await api.call('PUT', `/app/shop/builds?build_name=b${builds}`);
});

const asBody = (archive: Buffer): Blob => new Blob([new Uint8Array(archive)]);
const asForm = (archive: Buffer): FormData => {
  const form = new FormData();
  form.append('build', asBody(archive), 'build.tar.gz');
  return form;
};

async function upload(body: Blob | FormData, query = 'file_type=tar.gz') {
  const reply = await fetch(`http://127.0.0.1:${port}${url}?${query}`, {
    method: 'POST',
    headers: { 'auth-token': TOKEN, 'idempotency-key': key },
    body,
  });
  return {
    status: reply.status,
    isReplayed: reply.headers.get('idempotency-replayed') === 'true',
    // biome-ignore lint/suspicious/noExplicitAny: a test says by its expectations what it expects of a body
    body: (await reply.json()) as any,
  };
}
const jobs = () => api.services.database.db.job.count();

describe.each([
  ['as a body', asBody],
  ['as a form', asForm],
])('an upload %s with an Idempotency-Key', (_how, sent) => {
  it('gets the first reply again if it carries the same, and 409 if it carries anything else', async () => {
    const first = await upload(sent(ONE));
    expect(first).toMatchObject({ status: 202, isReplayed: false, body: { state: 'storing' } });
    const count = await jobs();
    expect(await upload(sent(ONE))).toEqual({ ...first, isReplayed: true });
    expect(await upload(sent(OTHER))).toMatchObject(CONFLICT);
    expect(await upload(sent(ONE.subarray(1)))).toMatchObject(CONFLICT);
    expect(await upload(sent(ONE))).toEqual({ ...first, isReplayed: true });
    expect(await jobs()).toBe(count);
    expect((await api.call('GET', url)).body.sha256).toBe(first.body.sha256);
  });

  it('is refused by what is in it also if the first one was, once all of it was there', async () => {
    const query = `file_type=tar.gz&sha256=${'0'.repeat(64)}`;
    const first = await upload(sent(ONE), query);
    expect(first).toMatchObject({ status: 422, body: { error: { code: 'checksum_mismatch' } } });
    expect(await upload(sent(ONE), query)).toEqual({ ...first, isReplayed: true });
    expect(await upload(sent(OTHER), query)).toMatchObject(CONFLICT);
  });

  it('may carry another archive if the first one was refused by its first bytes', async () => {
    const wrong = Buffer.concat([Buffer.from('no archive'), ONE.subarray(10)]);
    const refused = { status: 422, body: { error: { code: 'archive_wrong_type' } } };
    expect(await upload(sent(wrong))).toMatchObject(refused);
    expect(await upload(sent(ONE))).toMatchObject({ status: 202, isReplayed: false });
    expect(await upload(sent(wrong))).toMatchObject(CONFLICT);
  });

  it('gets the first reply whatever it carries if that was given before anything was read', async () => {
    url = '/app/shop/builds/none';
    const first = await upload(sent(ONE));
    expect(first).toMatchObject({ status: 404, isReplayed: false });
    expect(await upload(sent(OTHER))).toEqual({ ...first, isReplayed: true });
  });

  it('is compared once the first one, under way at the same time, has its reply', async () => {
    const replies = await Promise.all([ONE, ONE, OTHER, OTHER].map((each) => upload(sent(each))));
    const statuses = replies.map(({ status }) => status).sort();
    expect(statuses).toEqual([202, 202, 409, 409]);
    expect(replies.filter(({ isReplayed }) => isReplayed)).toHaveLength(1);
    for (const { status, body } of replies) {
      if (status === 409) expect(body.error.code).toBe('idempotency_key_reused');
    }
  });
});

describe('an upload that is sent again', () => {
  it('and breaks off is not answered with the first reply, which stays', async () => {
    const first = await upload(asBody(ONE));
    const closed = new Promise((resolve) => {
      const client = httpRequest({
        port,
        method: 'POST',
        path: `${url}?file_type=tar.gz`,
        headers: {
          'auth-token': TOKEN,
          'idempotency-key': key,
          'content-length': ONE.length,
        },
      });
      client.on('error', () => undefined);
      client.once('response', () => resolve('answered'));
      client.once('close', () => resolve('closed'));
      client.write(ONE.subarray(0, 500_000), () => client.destroy());
    });
    expect(await closed).toBe('closed');
    expect(await upload(asBody(ONE))).toEqual({ ...first, isReplayed: true });
  });

  it('that Muster fetches by itself is the same whatever comes along', async () => {
    const query = 'file_type=tar.gz&indirect_url=https%3A%2F%2Fbuilds.example.com%2Fb.tar.gz';
    const fetched = (body: string) =>
      api.call('POST', `${url}?${query}`, { headers: { 'idempotency-key': key }, body });
    const first = await fetched('one');
    expect(first.status).toBe(202);
    expect(await fetched('two')).toMatchObject({
      status: 202,
      text: first.text,
      headers: { 'idempotency-replayed': 'true' },
    });
  });
});
