import { pause } from '../pause.ts';

/** Work that goes on side by side, and is waited for together. */
export interface Lanes {
  add(work: () => Promise<void>): void;
  isEmpty(): boolean;
  /** True once any of it has thrown. */
  areBroken(): boolean;
  /** Waits until some has ended, or the time is up, or the signal is aborted. */
  someEnded(ms: number, signal: AbortSignal): Promise<void>;
  /** Waits until nothing is under way any more. @throws what was thrown first */
  allEnded(): Promise<void>;
}

export function openLanes(): Lanes {
  const underWay = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | null = null;
  let ended = new AbortController();
  return {
    add: (work) => {
      const lane = work()
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => {
          underWay.delete(lane);
          ended.abort();
        });
      underWay.add(lane);
    },
    isEmpty: () => underWay.size === 0,
    areBroken: () => failure !== null,
    someEnded: async (ms, signal) => {
      await pause(ms, signal, ended.signal);
      ended = new AbortController();
    },
    allEnded: async () => {
      await Promise.all(underWay);
      if (failure !== null) throw failure.error;
    },
  };
}
