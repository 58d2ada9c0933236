import { Queue as BullQueue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Queue } from './queue.ts';

const QUEUE_NAME = 'muster-jobs';
const PING_TIMEOUT_MS = 2000;

/** The queue of the distributed mode: BullMQ on Redis. It reconnects by itself when Redis comes back. */
export function createBullmqQueue(options: { redisUrl: string; log: Logger }): Queue {
  const { redisUrl, log } = options;
  // A request must not hang because Redis is away: ringing fails at once, and the reconciler makes up for it.
  const producer = new Redis(redisUrl, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 5000,
  });
  const warn = warnOnChange(log);
  producer.on('error', warn);
  const connected = firstAttempt(producer);
  const queue = new BullQueue(QUEUE_NAME, { connection: producer });
  queue.on('error', warn);
  let consumer: Redis | null = null;
  let worker: Worker | null = null;

  return {
    ring: async (jobId, delayMs = 0) => {
      try {
        await connected;
        await queue.add(
          'ring',
          { jobId },
          { delay: delayMs, removeOnComplete: true, removeOnFail: true },
        );
      } catch (error) {
        log.warn(
          { jobId, err: error },
          'redis did not take the ring; the reconciler will find the job',
        );
      }
    },
    process: (work, { concurrency }) => {
      consumer = new Redis(redisUrl, { maxRetriesPerRequest: null });
      consumer.on('error', warn);
      worker = new Worker<{ jobId: string }>(QUEUE_NAME, (bell) => work(bell.data.jobId), {
        connection: consumer,
        concurrency,
      });
      worker.on('error', warn);
    },
    ping: async () => {
      const timer = new Promise<never>((_, reject) => {
        setTimeout(() => reject(new Error('Redis does not answer')), PING_TIMEOUT_MS).unref();
      });
      await connected;
      await Promise.race([producer.ping(), timer]);
    },
    close: async () => {
      await worker?.close();
      consumer?.disconnect();
      await queue.close();
      producer.disconnect();
    },
  };
}

/** Resolves when the first connection stands or has failed; what comes later is told by the commands themselves. */
function firstAttempt(redis: Redis): Promise<void> {
  return new Promise((resolve) => {
    redis.once('ready', () => resolve());
    redis.once('error', () => resolve());
  });
}

/** An outage repeats the same error many times a second; one line for each different one is enough. */
function warnOnChange(log: Logger): (error: Error) => void {
  let last = '';
  return (error) => {
    if (error.message === last) return;
    last = error.message;
    log.warn({ err: error }, 'redis reported an error');
  };
}
