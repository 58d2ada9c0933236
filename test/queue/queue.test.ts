import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createBullmqQueue } from '../../src/queue/bullmq-queue.ts';
import { createInProcessQueue } from '../../src/queue/in-process-queue.ts';
import type { Queue } from '../../src/queue/queue.ts';
import { requirePart } from '../support/parts.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

const log = pino({ level: 'silent' });

/** Work that only notes for which jobs it was called. */
const collectIn =
  (seen: string[]) =>
  (id: string): Promise<void> => {
    seen.push(id);
    return Promise.resolve();
  };

/** What every adapter must do, whatever it rests on. */
function itKeepsTheContract(open: () => Queue): void {
  let queue: Queue;
  beforeEach(() => {
    queue = open();
  });
  afterEach(() => queue.close());

  it('hands every rung job to the worker', async () => {
    const seen: string[] = [];
    queue.process(collectIn(seen), { concurrency: 2 });
    await Promise.all(['a', 'b', 'c'].map((id) => queue.ring(id)));
    await expect.poll(() => [...seen].sort()).toEqual(['a', 'b', 'c']);
  });

  it('rings for one job as often as asked', async () => {
    const seen: string[] = [];
    queue.process(collectIn(seen), { concurrency: 1 });
    await queue.ring('a');
    await queue.ring('a');
    await expect.poll(() => seen).toEqual(['a', 'a']);
  });

  it('works on no more jobs at once than allowed', async () => {
    let running = 0;
    let most = 0;
    let done = 0;
    queue.process(
      async () => {
        running += 1;
        most = Math.max(most, running);
        // The first is joined by a second; a third, if it came, would come now.
        while (most < 2) await sleep(5);
        await sleep(30);
        running -= 1;
        done += 1;
      },
      { concurrency: 2 },
    );
    for (let i = 0; i < 6; i += 1) await queue.ring(`job-${i}`);
    await expect.poll(() => done).toBe(6);
    expect(most).toBe(2);
  });

  it('holds a delayed ring back', async () => {
    const seenAt = new Map<string, number>();
    queue.process(
      (id) => {
        seenAt.set(id, performance.now());
        return Promise.resolve();
      },
      { concurrency: 1 },
    );
    const rungAt = performance.now();
    await queue.ring('later', 400);
    await queue.ring('now');
    await expect.poll(() => [...seenAt.keys()].sort()).toEqual(['later', 'now']);
    // Timers count whole milliseconds.
    expect((seenAt.get('later') ?? 0) - rungAt).toBeGreaterThan(395);
  });

  it('goes on after a job whose work failed', async () => {
    const seen: string[] = [];
    queue.process(
      (id) => {
        seen.push(id);
        return id === 'bad' ? Promise.reject(new Error('as planned')) : Promise.resolve();
      },
      { concurrency: 1 },
    );
    await queue.ring('bad');
    await queue.ring('good');
    await expect.poll(() => seen).toEqual(['bad', 'good']);
  });

  it('waits in close for what is under way', async () => {
    let ended = false;
    let began = false;
    queue.process(
      async () => {
        began = true;
        await sleep(200);
        ended = true;
      },
      { concurrency: 1 },
    );
    await queue.ring('a');
    await expect.poll(() => began).toBe(true);
    await queue.close();
    expect(ended).toBe(true);
  });

  it('answers a ping', async () => {
    await expect(queue.ping()).resolves.toBeUndefined();
  });
}

describe('the queue in memory', () => {
  itKeepsTheContract(createInProcessQueue);
});

describe.skipIf(!requirePart('redis-server'))('the queue on Redis', () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterEach(() => redis.flush());
  afterAll(() => redis.stop());

  itKeepsTheContract(() => createBullmqQueue({ redisUrl: redis.url, log }));

  it('takes no time to ring and throws nothing while Redis is away, and works again afterwards', async () => {
    const own = await startRedis();
    const queue = createBullmqQueue({ redisUrl: own.url, log });
    const seen: string[] = [];
    queue.process(collectIn(seen), { concurrency: 1 });
    await queue.ring('before');
    await expect.poll(() => seen).toEqual(['before']);
    await own.restart();
    await expect(queue.ring('lost-or-not')).resolves.toBeUndefined();
    await expect
      .poll(
        async () => {
          await queue.ring('after');
          return seen.includes('after');
        },
        { interval: 300 },
      )
      .toBe(true);
    await queue.close();
    await own.stop();
  });
});
