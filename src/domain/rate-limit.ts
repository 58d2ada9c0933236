/** Lets each key do something so often and no oftener. */
export interface RateLimit {
  /** Takes one turn. @returns 0 if it was there, else after how many milliseconds to ask again */
  take(key: string, nowMs: number): number;
  /** Gives back a turn that was taken and need not count. */
  giveBack(key: string): void;
}

export interface RateLimitOptions {
  /** Turns that a key has at once when it was idle for long. */
  readonly burst: number;
  /** Turns that come back. */
  readonly perMinute: number;
  /** Keys that are remembered; beyond, the ones that came first are forgotten. Default 10,000. */
  readonly maxKeys?: number;
}

/**
 * A leaky bucket for each key, kept as the one moment at which the key's bucket will be empty (the generic cell
 * rate algorithm). Holds at most `maxKeys` numbers, in the memory of this process.
 */
export function createRateLimit(options: RateLimitOptions): RateLimit {
  const { burst, perMinute, maxKeys = 10_000 } = options;
  const intervalMs = 60_000 / perMinute;
  const emptyAtMs = new Map<string, number>();

  const makeRoom = (nowMs: number): void => {
    if (emptyAtMs.size < maxKeys) return;
    for (const [key, at] of emptyAtMs) if (at <= nowMs) emptyAtMs.delete(key);
    for (const key of emptyAtMs.keys()) {
      if (emptyAtMs.size < maxKeys) return;
      emptyAtMs.delete(key);
    }
  };

  return {
    take: (key, nowMs) => {
      const emptyAt = Math.max(emptyAtMs.get(key) ?? 0, nowMs);
      const waitMs = emptyAt - (burst - 1) * intervalMs - nowMs;
      if (waitMs > 0) return waitMs;
      if (!emptyAtMs.has(key)) makeRoom(nowMs);
      emptyAtMs.set(key, emptyAt + intervalMs);
      return 0;
    },
    giveBack: (key) => {
      const emptyAt = emptyAtMs.get(key);
      if (emptyAt !== undefined) emptyAtMs.set(key, emptyAt - intervalMs);
    },
  };
}
