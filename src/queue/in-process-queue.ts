import type { Queue } from './queue.ts';

/** The queue of the embedded mode: a list in the memory of the one process. */
export function createInProcessQueue(): Queue {
  // A job that is rung for twice while it waits is looked at once.
  const waiting = new Set<string>();
  const timers = new Set<NodeJS.Timeout>();
  const running = new Set<Promise<void>>();
  let work: ((jobId: string) => Promise<void>) | null = null;
  let concurrency = 0;
  let closed = false;

  const start = (): void => {
    while (!closed && work !== null && running.size < concurrency) {
      const [jobId] = waiting;
      if (jobId === undefined) return;
      waiting.delete(jobId);
      const run = work(jobId)
        // What failed stands in the job's row; the queue goes on with the next one.
        .catch(() => {})
        .finally(() => {
          running.delete(run);
          start();
        });
      running.add(run);
    }
  };

  return {
    ring: (jobId, delayMs = 0) => {
      if (closed) return Promise.resolve();
      const timer = setTimeout(() => {
        timers.delete(timer);
        waiting.add(jobId);
        start();
      }, delayMs);
      timers.add(timer);
      return Promise.resolve();
    },
    process: (handler, options) => {
      work = handler;
      concurrency = options.concurrency;
      start();
    },
    ping: () => Promise.resolve(),
    close: async () => {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      await Promise.allSettled(running);
    },
  };
}
