import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './test-api.ts';

let api: TestApi;
let key: string;
let keys = 0;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());
beforeEach(() => {
  keys += 1;
  key = `key-${keys}`;
});

const keyed = (method: string, url: string, body?: unknown) =>
  api.call(method, url, { headers: { 'idempotency-key': key }, body });

describe('a request with an Idempotency-Key', () => {
  it('is done once: sent again it gets the first reply', async () => {
    const first = await keyed('PUT', '/app?app_name=shop');
    const again = await keyed('PUT', '/app?app_name=shop');
    expect(first.status).toBe(201);
    expect([again.status, again.text]).toEqual([201, first.text]);
    expect(again.headers).toMatchObject({
      location: '/app/shop',
      'content-type': first.headers['content-type'],
      'idempotency-replayed': 'true',
    });
    expect((await api.call('PUT', '/app?app_name=shop')).status).toBe(409);
  });

  it('starts one job only', async () => {
    const first = await keyed('PUT', '/app/shop/gitrepos?name=r');
    const again = await keyed('PUT', '/app/shop/gitrepos?name=r');
    expect([first.status, again.status]).toEqual([202, 202]);
    expect(again.body.job.job_id).toBe(first.body.job.job_id);
  });

  it.each([
    ['another parameter', 'PUT', '/app/shop/builds?build_name=2', { attributes: { a: 1 } }],
    ['another body', 'PUT', '/app/shop/builds?build_name=1', { attributes: { a: 2 } }],
    ['another path', 'PUT', '/app/shop/packagemaps?name=1', { packages: {} }],
  ])('is refused with 409 if it comes with %s', async (_what, method, url, body) => {
    await keyed('PUT', '/app/shop/builds?build_name=1', { attributes: { a: 1 } });
    const reply = await keyed(method, url, body);
    expect([reply.status, reply.body.error.code]).toEqual([409, 'idempotency_key_reused']);
  });

  it('gets the first reply also if that was a refusal', async () => {
    expect((await keyed('PUT', '/app/late/builds?build_name=1')).status).toBe(404);
    await api.call('PUT', '/app?app_name=late');
    expect((await keyed('PUT', '/app/late/builds?build_name=1')).status).toBe(404);
  });

  it('may be corrected and sent again if it was never understood', async () => {
    expect((await keyed('PUT', '/app?ap_name=understood')).status).toBe(400);
    expect((await keyed('PUT', '/app?app_name=understood')).status).toBe(201);
  });

  it('may be sent again after an error that was not its fault', async () => {
    const { ring } = api.services.queue;
    Object.assign(api.services.queue, {
      ring: () => Promise.reject(new Error('an unexpected error')),
    });
    const first = await keyed('PUT', '/app/shop/gitrepos?name=again');
    Object.assign(api.services.queue, { ring });
    expect(first.status).toBe(500);
    // It is looked at anew, and finds what the first try has left.
    expect((await keyed('PUT', '/app/shop/gitrepos?name=again')).status).toBe(409);
  });

  it('is done once when many come at the same time, and all get the one reply', async () => {
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => keyed('PUT', '/app/shop/gitrepos?name=many')),
    );
    expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 202));
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
    const replayed = replies.filter(({ headers }) => headers['idempotency-replayed'] === 'true');
    expect(replayed).toHaveLength(7);
  });

  it.each([
    ['24 hours, with a reply', 25 * 60, 201],
    ['the longest request, with none', 11, null],
  ])('counts as new after %s', async (_what, minutes, statusCode) => {
    const { db } = api.services.database;
    const user = await db.user.findFirstOrThrow({ where: { username: 'admin' } });
    const createdAt = new Date(Date.now() - minutes * 60_000);
    const row = { userId: user.id, key, requestHash: 'another', statusCode, body: '{}', createdAt };
    await db.idempotencyKey.create({ data: row });
    expect((await keyed('PUT', `/app?app_name=new-${minutes}`)).status).toBe(201);
  });

  it.each(['', 'two words', 'x'.repeat(256)])('is refused if the key is %o', async (bad) => {
    key = bad;
    const reply = await keyed('PUT', '/app?app_name=never');
    expect([reply.status, reply.body.error.code]).toEqual([400, 'invalid_input']);
  });

  it('keeps its key from other users, and from requests that only read', async () => {
    await keyed('PUT', '/app?app_name=mine');
    expect((await keyed('GET', '/app/mine')).status).toBe(200);
    expect((await keyed('DELETE', '/app/mine')).status).toBe(200);
  });
});
