import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { addShop, must } from './shop.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

const GIVE_UP = { timeout: 60_000 };

let api: TestApi;
let url: string;
/** How many wait at this moment for something to change. */
let waiting = 0;
beforeEach(async () => {
  api = await startTestApi();
  waiting = 0;
  const { subscribe } = api.services.listener;
  Object.assign(api.services.listener, {
    subscribe: (...call: Parameters<typeof subscribe>) => {
      waiting += 1;
      const unsubscribe = subscribe(...call);
      return () => {
        waiting -= 1;
        unsubscribe();
      };
    },
  });
  await addShop(api);
  await must(api, 'PUT', '/app/shop/builds?build_name=2.0');
  url = await api.app.listen({ port: 0, host: '127.0.0.1' });
});
afterEach(() => api.close());

const post = async (
  path: string,
  body: string | Uint8Array<ArrayBuffer>,
  type = 'application/json',
) => {
  const headers = { 'auth-token': TOKEN, 'content-type': type };
  const reply = await fetch(`${url}${path}`, { method: 'POST', headers, body });
  return { status: reply.status, body: await reply.json() };
};

/** The wait is ended by the end of Muster and not by time, so that the change surely comes before. */
it('who has waited in vain gets 202 with what there is by then, not with what there was', async () => {
  const { db } = api.services.database;
  const target = JSON.stringify({ servers: ['web01'], gitdeploys: ['Web'] });
  const deploy = '/app/shop/deployments?build_name=1.0';
  const other = (await must(api, 'POST', deploy, JSON.parse(target))).body.id;
  const archive = new Uint8Array(gzipSync(randomBytes(1000)));
  const replies = [
    post(`${deploy}&wait=300`, target),
    post(`/app/shop/deployments/${other}/override_freeze?reason=hotfix&wait=300`, ''),
    post('/server/web02?check=true&wait=300', ''),
    post('/app/shop/builds/2.0?file_type=tar.gz&wait=300', archive, 'application/gzip'),
  ];
  await expect.poll(() => waiting, GIVE_UP).toBe(replies.length);
  const attributes = { changed: 'meanwhile' };
  await db.deployment.updateMany({ data: { status: 'running' } });
  await db.server.updateMany({ data: { attributes } });
  await db.build.updateMany({ data: { attributes } });
  await api.app.close();
  expect(await Promise.all(replies)).toMatchObject([
    { status: 202, body: { status: 'running', job: { kind: 'run_deployment' }, warnings: [] } },
    { status: 202, body: { id: other, status: 'running', job: { kind: 'run_deployment' } } },
    { status: 202, body: { attributes, job: { kind: 'check_server' } } },
    { status: 202, body: { attributes, state: 'storing', job: { kind: 'store_build' } } },
  ]);
});
