/** A number of places; who finds none waits in line. */
export interface Places {
  /**
   * Take a place; the returned function gives it back, once.
   * @throws the signal's reason if it is aborted while waiting
   */
  take(signal?: AbortSignal): Promise<() => void>;
  /** How many are taken or waited for. */
  readonly inUse: number;
}

/** Makes `count` places. First come, first served. */
export function makePlaces(count: number): Places {
  let free = count;
  const waiting: (() => void)[] = [];
  const giveBack = (): (() => void) => {
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    };
  };
  return {
    take: async (signal) => {
      signal?.throwIfAborted();
      if (free > 0) {
        free -= 1;
        return giveBack();
      }
      return await new Promise((resolve, reject) => {
        const enter = (): void => {
          signal?.removeEventListener('abort', leave);
          resolve(giveBack());
        };
        const leave = (): void => {
          waiting.splice(waiting.indexOf(enter), 1);
          reject(reasonOf(signal));
        };
        waiting.push(enter);
        signal?.addEventListener('abort', leave, { once: true });
      });
    },
    get inUse() {
      return count - free + waiting.length;
    },
  };
}

/** Wait for a promise that others wait for too, but no longer than the signal allows. */
export async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  const own = AbortSignal.any([signal]);
  return await new Promise((resolve, reject) => {
    const leave = (): void => reject(reasonOf(own));
    own.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject).finally(() => own.removeEventListener('abort', leave));
  });
}

function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason });
}
