import { setTimeout as sleep } from 'node:timers/promises';
import { createLimiter } from '../depot/limiter.ts';

/** Reads that many want at the same time and that are done once for all of them. */
export interface SharedReads<T> {
  /**
   * Reads, or joins a read of the same key that has not begun yet. One that has begun is not joined: it may not see what
   * its caller was just told of.
   */
  read(key: string, read: () => Promise<T>): Promise<T>;
}

/**
 * @param o.gatherMs how long a read waits for others to join, before it begins
 * @param o.atOnce reads of different keys at the same time
 */
export function createSharedReads<T>(o: {
  readonly gatherMs: number;
  readonly atOnce: number;
}): SharedReads<T> {
  const limiter = createLimiter(o.atOnce);
  const gathering = new Map<string, Promise<T>>();

  const begin = async (key: string, read: () => Promise<T>): Promise<T> => {
    await sleep(o.gatherMs);
    return limiter.run(() => {
      gathering.delete(key);
      return read();
    });
  };

  return {
    read: (key, read) => {
      const present = gathering.get(key);
      if (present !== undefined) return present;
      const begun = begin(key, read);
      gathering.set(key, begun);
      return begun;
    },
  };
}
