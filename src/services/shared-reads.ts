import { setTimeout as sleep } from 'node:timers/promises';
import { createLimiter } from '../depot/limiter.ts';

/** Reads that many want at the same time and that are done once for all of them. */
export interface SharedReads<T> {
  /**
   * Reads, or joins a read of the same key that has not begun yet. One that has begun is not joined: it may not see what
   * its caller was just told of.
   * @param how.isUrgent begins as soon as there is a place, and waits for nobody to join. Default false
   */
  read(key: string, read: () => Promise<T>, how?: { readonly isUrgent: boolean }): Promise<T>;
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

  const begin = async (key: string, read: () => Promise<T>, isUrgent: boolean): Promise<T> => {
    // Not even urgent ones begin before they are noted as gathering.
    await (isUrgent ? Promise.resolve() : sleep(o.gatherMs));
    return limiter.run(() => {
      gathering.delete(key);
      return read();
    });
  };

  return {
    read: (key, read, { isUrgent } = { isUrgent: false }) => {
      const present = gathering.get(key);
      if (present !== undefined) return present;
      const begun = begin(key, read, isUrgent);
      gathering.set(key, begun);
      return begun;
    },
  };
}
