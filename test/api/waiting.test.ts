import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ErrorBody } from '../../src/domain/errors.ts';
import { appendEvent } from '../../src/store/events.ts';
import { claimJob, finishJob } from '../../src/store/jobs.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

let api: TestApi;
let repos = 0;
beforeAll(async () => {
  api = await startTestApi();
  await api.call('PUT', '/app?app_name=shop');
});
afterAll(() => api.close());

type End = { status: 'succeeded'; result: unknown } | { status: 'failed'; error: ErrorBody };

/** Does what a worker does with the one job that is queued. */
async function endQueuedJob(end: End): Promise<string> {
  const { db } = api.services.database;
  for (;;) {
    const job = await db.job.findFirst({ where: { status: 'queued' } });
    if (job === null) {
      await sleep(10);
      continue;
    }
    const claimed = await claimJob(db, job.id, 'test');
    if (claimed === null) throw new Error('the job could not be claimed');
    await appendEvent(db, { jobId: job.id, deploymentId: null, kind: 'progress', data: { at: 1 } });
    await finishJob(db, { id: job.id, worker: 'test', attempts: claimed.attempts }, end);
    await appendEvent(db, { jobId: job.id, deploymentId: null, kind: 'job_ended', data: null });
    return job.id;
  }
}

const start = (query = '') => {
  repos += 1;
  return api.call('PUT', `/app/shop/gitrepos?name=r${repos}${query}`);
};

describe('a request that waits for its job', () => {
  it('gets 200 with the resource as it is now and the result of the job', async () => {
    const [reply, id] = await Promise.all([
      start('&wait=20'),
      endQueuedJob({ status: 'succeeded', result: { head: 'abc' } }),
    ]);
    expect(reply).toMatchObject({
      status: 200,
      headers: { location: `/job/${id}` },
      body: { job: { job_id: id, status: 'succeeded', result: { head: 'abc' } } },
    });
  });

  it("gets the job's error with that error's status", async () => {
    const error = {
      code: 'path_occupied',
      message: 'Something is there.',
      details: { path: '/x' },
    } as const;
    const [reply, id] = await Promise.all([
      start('&wait=20'),
      endQueuedJob({ status: 'failed', error }),
    ]);
    expect(reply.status).toBe(409);
    expect(reply.body.error).toEqual({ ...error, details: { path: '/x', job_id: id } });
  });

  it('gets 202 when the time is up, and may ask for the job later', async () => {
    const begun = performance.now();
    const reply = await start('&wait=1');
    expect(performance.now() - begun).toBeGreaterThan(900);
    expect(reply).toMatchObject({ status: 202, body: { job: { status: 'queued' } } });
    const id = await endQueuedJob({ status: 'succeeded', result: 7 });
    expect((await api.call('GET', `/job/${id}?results=true`)).body).toMatchObject({
      job_id: id,
      status: 'succeeded',
      result: 7,
      error: null,
      duration_in_seconds: expect.any(Number),
      results: [
        { kind: 'progress', data: { at: 1 } },
        { kind: 'job_ended', data: null },
      ],
    });
    expect((await api.call('GET', '/job?active=true')).body).toEqual({ jobs: [] });
    expect((await api.call('GET', '/job')).body.jobs[0]).toBe(id);
  });

  it('gets 202 at once without `wait`', async () => {
    expect((await start()).status).toBe(202);
    await endQueuedJob({ status: 'succeeded', result: null });
  });

  it('stops to wait when its caller goes away, and the job goes on', async () => {
    const other = await startTestApi();
    const { subscribe } = other.services.listener;
    const waiting = new Set<symbol>();
    Object.assign(other.services.listener, {
      subscribe: (...call: Parameters<typeof subscribe>) => {
        const one = Symbol(call[0]);
        waiting.add(one);
        const unsubscribe = subscribe(...call);
        return () => {
          waiting.delete(one);
          unsubscribe();
        };
      },
    });
    try {
      await other.call('PUT', '/app?app_name=shop');
      await other.app.listen({ port: 0, host: '127.0.0.1' });
      const { port } = other.app.server.address() as AddressInfo;
      const client = httpRequest({
        port,
        method: 'PUT',
        path: '/app/shop/gitrepos?name=left&wait=300',
        headers: { 'auth-token': TOKEN },
      });
      client.on('error', () => undefined);
      client.end();
      for (;;) {
        if (waiting.size === 1) break;
        await sleep(20);
      }
      client.destroy();
      await expect.poll(() => waiting.size).toBe(0);
      expect((await other.call('GET', '/job?active=true')).body.jobs).toHaveLength(1);
    } finally {
      await other.close();
    }
  });

  it('is answered with 202 when Muster stops', async () => {
    const other = await startTestApi();
    await other.call('PUT', '/app?app_name=shop');
    await other.app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = other.app.server.address() as AddressInfo;
    const reply = fetch(`http://127.0.0.1:${port}/app/shop/gitrepos?name=r&wait=300`, {
      method: 'PUT',
      headers: { 'auth-token': TOKEN },
    });
    for (;;) {
      if ((await other.call('GET', '/job?active=true')).body.jobs.length === 1) break;
      await sleep(20);
    }
    await Promise.all([other.close(), reply]);
    expect((await reply).status).toBe(202);
  });
});
