import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '../../src/domain/errors.ts';
import type { JobContext, JobHandlers, JobOutcome } from '../../src/jobs/handler.ts';
import { startWorker, type Worker } from '../../src/jobs/worker.ts';
import { createInProcessQueue } from '../../src/queue/in-process-queue.ts';
import type { Queue } from '../../src/queue/queue.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { appendEvents, listJobEvents } from '../../src/store/events.ts';
import { findJob, insertJob, type JobRow, requestJobCancel } from '../../src/store/jobs.ts';
import { type Listener, openListener } from '../../src/store/listener.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

const log = pino({ level: 'silent' });
const ID = '01a1fd52-2d04-74b1-bc48-c083174cf85f';

describe('the worker', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  let listener: Listener;
  let queue: Queue;
  let worker: Worker | null = null;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = openDatabase({ databaseUrl: testDatabase.databaseUrl });
    listener = openListener(testDatabase.databaseUrl);
  });
  afterEach(async () => {
    await worker?.close();
    await queue.close();
    worker = null;
  });
  afterAll(async () => {
    await listener.close();
    await database.close();
    await testDatabase.drop();
  });

  /** Starts a worker whose one kind of job does `run`. */
  const start = (
    run: (context: JobContext) => Promise<JobOutcome>,
    failed?: () => Promise<void>,
  ) => {
    queue = createInProcessQueue();
    const handler = {
      run: (_data: unknown, context: JobContext) => run(context),
      ...(failed && { failed }),
    };
    const handlers: JobHandlers = {
      store_build: handler,
      fetch_build: handler,
      maintain_depot: handler,
      create_gitrepo: handler,
      initialize_gitdeploy: handler,
      deinitialize_gitdeploy: handler,
      check_server: handler,
      preflight: handler,
      run_deployment: handler,
      join_deployment: handler,
    };
    worker = startWorker({ database, queue, listener, handlers, log, concurrency: 4 });
  };
  const insert = (kind = 'create_gitrepo', data: unknown = { gitrepoId: ID }): Promise<JobRow> =>
    insertJob(database.db, { kind, data, username: 'admin', applicationId: null });
  const statusOf = async (job: JobRow): Promise<string | undefined> =>
    (await findJob(database.db, job.id))?.status;
  const succeeded = (result: unknown = {}): JobOutcome => ({ outcome: 'succeeded', result });

  it('does a job that is rung for, and keeps its result and what it told', async () => {
    start(async (context) => {
      await context.emit('progress', { step: 1 });
      return succeeded({ answer: 42 });
    });
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('succeeded');
    expect(await findJob(database.db, job.id)).toMatchObject({
      result: { answer: 42 },
      attempts: 1,
    });
    const events = await listJobEvents(database.db, job.id);
    expect(events.map((e) => e.kind)).toEqual(['progress', 'job_succeeded']);
  });

  it('finds a job that nobody rang for', async () => {
    start(() => Promise.resolve(succeeded()));
    const job = await insert();
    await expect.poll(() => statusOf(job)).toBe('succeeded');
  });

  it('keeps the error of a job that fails, and lets its handler clean up with it', async () => {
    let cleaned = 0;
    start(
      () => Promise.reject(new AppError('archive_broken', 'The archive is broken.')),
      () => {
        cleaned += 1;
        return Promise.resolve();
      },
    );
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('failed');
    expect((await findJob(database.db, job.id))?.error).toMatchObject({ code: 'archive_broken' });
    expect(cleaned).toBe(1);
  });

  it('tells nothing of an error that nobody foresaw', async () => {
    start(() => Promise.reject(new Error('password=hunter2 at /etc')));
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('failed');
    const { error } = (await findJob(database.db, job.id)) ?? {};
    expect(error).toMatchObject({ code: 'internal' });
    expect(JSON.stringify(error)).not.toContain('hunter2');
  });

  it('fails a job of a kind it does not know, or whose data are wrong', async () => {
    start(() => Promise.resolve(succeeded()));
    const [unknown, wrong] = [
      await insert('brew_coffee'),
      await insert('create_gitrepo', { gitrepoId: 7 }),
    ];
    await queue.ring(unknown.id);
    await queue.ring(wrong.id);
    await expect.poll(() => statusOf(unknown)).toBe('failed');
    await expect.poll(() => statusOf(wrong)).toBe('failed');
  });

  it('takes a job up again that asked for it, after its time', async () => {
    const began: number[] = [];
    start(() => {
      began.push(Date.now());
      return Promise.resolve<JobOutcome>(
        began.length < 3 ? { outcome: 'again', afterMs: 200 } : succeeded(),
      );
    });
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('succeeded');
    expect(began).toHaveLength(3);
    expect((began[1] ?? 0) - (began[0] ?? 0)).toBeGreaterThanOrEqual(190);
  });

  it('hands a job over when it stops, and the next worker does it', async () => {
    start(async (context) => {
      while (!context.draining.aborted) await sleep(10);
      return { outcome: 'again', afterMs: 0 };
    });
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('running');
    await worker?.close();
    await queue.close();
    expect(await findJob(database.db, job.id)).toMatchObject({ status: 'running', worker: null });
    start(() => Promise.resolve(succeeded()));
    await expect.poll(() => statusOf(job)).toBe('succeeded');
  });

  it('takes over from a worker that died, and gives a job up that kills every worker', async () => {
    const job = await insert();
    const dead = (attempts: number) => database.db.$executeRaw`
      update jobs set status = 'running', worker = 'dead', attempts = ${attempts},
                      lease_expires_at = now() - interval '1 second' where id = ${job.id}::uuid`;
    await dead(1);
    let runs = 0;
    start(() => {
      runs += 1;
      return Promise.resolve(succeeded());
    });
    await expect.poll(() => statusOf(job)).toBe('succeeded');
    expect(runs).toBe(1);
    await dead(5);
    await expect.poll(() => statusOf(job)).toBe('failed');
    expect(runs).toBe(1);
  });

  it('lets one that gets further each time die more often', async () => {
    const job = await insert();
    start(() => Promise.resolve(succeeded()));
    await appendEvents(
      database.db,
      [1, 2, 3].map((step) => ({
        jobId: job.id,
        deploymentId: null,
        kind: 'progress',
        data: { step },
      })),
    );
    await database.db.$executeRaw`
      update jobs set status = 'running', worker = 'dead', attempts = 7,
                      lease_expires_at = now() - interval '1 second' where id = ${job.id}::uuid`;
    await expect.poll(() => statusOf(job), { timeout: 60_000 }).toBe('succeeded');
  });

  it('writes nothing more for a job that another worker has taken while it slept', async () => {
    const written: string[] = [];
    start(async (context) => {
      await context.emit('progress', { mine: true });
      // As after a long sleep, before the heartbeat has noticed anything.
      await database.db.$executeRaw`
        update jobs set worker = 'other', attempts = attempts + 1 where id = ${context.jobId}::uuid`;
      const late = [
        context.emit('progress', { mine: false }),
        context.record('progress', { mine: false }, () => {
          written.push('record');
          return Promise.resolve();
        }),
        context.transaction(() => {
          written.push('transaction');
          return Promise.resolve();
        }),
      ];
      const ended = await Promise.allSettled(late);
      written.push(...ended.map(({ status }) => status));
      return succeeded();
    });
    const job = await insert();
    await queue.ring(job.id);
    await expect
      .poll(() => written, { timeout: 60_000 })
      .toEqual(['rejected', 'rejected', 'rejected']);
    await worker?.close();
    worker = null;
    expect(await findJob(database.db, job.id)).toMatchObject({
      status: 'running',
      worker: 'other',
    });
    const events = await listJobEvents(database.db, job.id);
    expect(events.map(({ data }) => data)).toEqual([{ mine: true }]);
  });

  it('keeps changes and the line that tells of them together, and one bad change to itself', async () => {
    start(async (context) => {
      const bad = context.record('bad', {}, async (tx) => {
        await tx.$executeRaw`select 1 / 0`;
      });
      const good = [1, 2, 3].map((step) =>
        context.record('good', { step }, async (tx) => {
          await tx.$executeRaw`update jobs set started_at = started_at where id = ${context.jobId}::uuid`;
        }),
      );
      const ended = await Promise.allSettled([bad, ...good]);
      return succeeded(ended.map(({ status }) => status));
    });
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job), { timeout: 60_000 }).toBe('succeeded');
    expect((await findJob(database.db, job.id))?.result).toEqual([
      'rejected',
      ...Array<string>(3).fill('fulfilled'),
    ]);
    const events = await listJobEvents(database.db, job.id);
    expect(events.map(({ kind }) => kind)).toEqual([
      ...Array<string>(3).fill('good'),
      'job_succeeded',
    ]);
  });

  it('never starts a job that was cancelled while it waited, though all its places are taken', async () => {
    let runs = 0;
    start(async (context) => {
      runs += 1;
      while (!context.signal.aborted) await sleep(10);
      throw context.signal.reason;
    });
    const others = await Promise.all([1, 2, 3, 4].map(() => insert()));
    for (const { id } of others) await queue.ring(id);
    await expect.poll(() => runs).toBe(4);
    const job = await insert();
    await queue.ring(job.id);
    await requestJobCancel(database.db, job.id);
    await expect.poll(() => statusOf(job)).toBe('cancelled');
    expect(runs).toBe(4);
    expect(await findJob(database.db, job.id)).toMatchObject({
      startedAt: null,
      error: { code: 'cancelled' },
    });
    for (const { id } of others) await requestJobCancel(database.db, id);
    for (const other of others) {
      await expect.poll(() => statusOf(other)).toBe('cancelled');
    }
  });

  it('ends a running job that is cancelled as cancelled, and cleans up after it', async () => {
    let cleaned = 0;
    start(
      async (context) => {
        while (!context.signal.aborted) await sleep(10);
        throw new Error('torn off in the middle');
      },
      () => {
        cleaned += 1;
        return Promise.resolve();
      },
    );
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('running');
    await requestJobCancel(database.db, job.id);
    await expect.poll(() => statusOf(job)).toBe('cancelled');
    expect(cleaned).toBe(1);
    const events = await listJobEvents(database.db, job.id);
    expect(events.map((e) => e.kind)).toEqual(['job_cancelled']);
  });

  it('keeps its word to who cancelled a job that was just done, with its result and without cleaning up', async () => {
    let cleaned = 0;
    let finish = (): void => {};
    const mayFinish = new Promise<void>((resolve) => {
      finish = resolve;
    });
    start(
      async () => {
        await mayFinish;
        return succeeded({ stored: true });
      },
      () => {
        cleaned += 1;
        return Promise.resolve();
      },
    );
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('running');
    await requestJobCancel(database.db, job.id);
    finish();
    await expect.poll(() => statusOf(job)).toBe('cancelled');
    expect((await findJob(database.db, job.id))?.result).toEqual({ stored: true });
    expect(cleaned).toBe(0);
  });

  it('writes the events of a job in order, however many are told at once', async () => {
    start(async (context) => {
      await Promise.all(Array.from({ length: 500 }, (_, n) => context.emit('line', { n })));
      return succeeded();
    });
    const job = await insert();
    await queue.ring(job.id);
    await expect.poll(() => statusOf(job)).toBe('succeeded');
    const events = await listJobEvents(database.db, job.id);
    expect(events.slice(0, 500).map((e) => e.data)).toEqual(
      Array.from({ length: 500 }, (_, n) => ({ n })),
    );
  });
});
