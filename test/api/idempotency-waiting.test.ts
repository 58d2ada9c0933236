import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildApp } from '../../src/api/app.ts';
import type { Api } from '../../src/api/fastify-types.ts';
import { createPrometheusMetrics } from '../../src/metrics/prometheus.ts';
import type { ServiceContext } from '../../src/services/context.ts';
import { beginRequest } from '../../src/services/idempotency.ts';
import { openDatabase } from '../../src/store/database.ts';
import { notify } from '../../src/store/events.ts';
import { openListener } from '../../src/store/listener.ts';
import { type Answer, startTestApi, type TestApi, TOKEN } from './test-api.ts';

const CONNECTIONS = 3;
const GIVE_UP_MS = 60_000;
const SLOW = '/app/shop/gitrepos?name=slow&wait=300';
const HEADERS = { 'idempotency-key': 'once', authorization: `Bearer ${TOKEN}` };

/** A second API process on the database of the first, as far as one process can be two. */
interface OtherApi {
  readonly app: Api;
  readonly services: ServiceContext;
  /** How many wait at this moment for the reply to a request of some key. */
  waiting(): number;
  close(): Promise<void>;
}

let databaseUrl: string;
let api: TestApi;
let other: OtherApi;
let first: Promise<Answer>;

/** The first request is being answered, and will be for as long as its job is not over. */
beforeEach(async () => {
  api = await startTestApi({
    reroute: (url) => {
      databaseUrl = url;
      return Promise.resolve(url);
    },
  });
  other = await startOtherApi();
  await api.call('PUT', '/app?app_name=shop');
  first = api.call('PUT', SLOW, { headers: HEADERS });
  await until(async () => (await api.services.database.db.job.count()) === 1);
});
afterEach(async () => {
  await other.close();
  await api.close();
});

describe('a request whose Idempotency-Key is that of one under way', () => {
  it('waits for the first reply and gets it, in another process as well', async () => {
    const second = other.app.inject({ method: 'PUT', url: SLOW, headers: HEADERS });
    const third = api.call('PUT', SLOW, { headers: HEADERS });
    await until(() => other.waiting() === 1);
    await endJob();
    const reply = await first;
    expect(reply.status, reply.text).toBe(200);
    expect(await second).toMatchObject({
      statusCode: 200,
      body: reply.text,
      headers: { 'idempotency-replayed': 'true' },
    });
    expect(await third).toMatchObject({ status: 200, text: reply.text });
    await until(() => other.waiting() === 0);
    expect(await api.services.database.db.gitrepo.count()).toBe(1);
  });

  it('is refused at once if it is another request', async () => {
    const reply = await api.call('PUT', '/app/shop/gitrepos?name=other', { headers: HEADERS });
    expect([reply.status, reply.body.error.code]).toEqual([409, 'idempotency_key_reused']);
    await endJob();
  });

  it('is done in its place if the first one comes to nothing', async () => {
    const { db } = api.services.database;
    const second = other.app.inject({ method: 'PUT', url: SLOW, headers: HEADERS });
    await until(() => other.waiting() === 1);
    await db.idempotencyKey.deleteMany();
    // It is done, and finds what the first has made.
    expect((await second).statusCode).toBe(409);
    expect((await second).json().error.code).toBe('already_exists');
    await endJob();
  });

  it('waits no longer than its client does, and holds no connection of the database', async () => {
    const url = await other.app.listen({ host: '127.0.0.1', port: 0 });
    const gone = new AbortController();
    const calls = Array.from({ length: CONNECTIONS + 2 }, () =>
      fetch(new URL(SLOW, url), { method: 'PUT', headers: HEADERS, signal: gone.signal }).then(
        () => 'answered',
        () => 'gone',
      ),
    );
    await until(() => other.waiting() === calls.length);
    // More wait than there are connections, and there is one for this.
    expect(await other.services.database.db.gitrepo.count()).toBe(1);
    gone.abort();
    expect(await Promise.all(calls)).toEqual(calls.map(() => 'gone'));
    await until(() => other.waiting() === 0);
    await endJob();
    expect((await first).status).toBe(200);
  });

  it('is told to try again when the process stops', async () => {
    const url = await other.app.listen({ host: '127.0.0.1', port: 0 });
    const second = fetch(new URL(SLOW, url), { method: 'PUT', headers: HEADERS });
    await until(() => other.waiting() === 1);
    await other.app.close();
    const reply = await second;
    expect(reply.status).toBe(409);
    expect(await reply.json()).toMatchObject({
      error: { code: 'conflict', message: expect.stringContaining('try again in a while') },
    });
    await endJob();
  });

  it('is told to try again when the time is up', async () => {
    const row = await api.services.database.db.idempotencyKey.findFirstOrThrow();
    const { signal } = new AbortController();
    const readContent = () => Promise.reject(new Error('there is nothing to compare'));
    const begun = beginRequest(api.services, row, { signal, readContent, waitMs: 10 });
    await expect(begun).rejects.toMatchObject({
      code: 'conflict',
      retryable: true,
      message: expect.stringContaining('try again in a while'),
    });
    await endJob();
  });
});

/** Ends the job as a worker does, so that who waits for it is answered. */
async function endJob(): Promise<void> {
  const { db } = api.services.database;
  const { id } = await db.job.findFirstOrThrow();
  await db.job.update({ where: { id }, data: { status: 'succeeded', finishedAt: new Date() } });
  await notify(db, id);
  await first;
}

async function startOtherApi(): Promise<OtherApi> {
  const topics = new Map<number, string>();
  let number = 0;
  const listener = openListener(databaseUrl);
  const services: ServiceContext = {
    ...api.services,
    database: openDatabase({ databaseUrl, maxConnections: CONNECTIONS }),
    listener: {
      ...listener,
      subscribe: (id, wake) => {
        number += 1;
        const mine = number;
        const leave = listener.subscribe(id, wake);
        topics.set(mine, id);
        return () => {
          topics.delete(mine);
          leave();
        };
      },
    },
  };
  const checkHealth = () => Promise.resolve(api.health);
  const metrics = createPrometheusMetrics({
    version: 'test',
    health: checkHealth,
    work: () => Promise.reject(new Error('not asked for')),
    databasePool: services.database.poolStatistics,
    ssh: () => null,
  });
  const app = await buildApp({ services, checkHealth, metrics });
  return {
    app,
    services,
    waiting: () => [...topics.values()].filter((topic) => topic.startsWith('reply ')).length,
    close: async () => {
      await app.close();
      await listener.close();
      await services.database.close();
    },
  };
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + GIVE_UP_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error('what the test waits for did not come');
    await sleep(10);
  }
}
