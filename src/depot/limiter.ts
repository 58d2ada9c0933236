/** Lets at most so many pieces of work run at once; the rest wait in order. */
export interface Limiter {
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** @param max positive */
export function createLimiter(max: number): Limiter {
  const waiting: (() => void)[] = [];
  let running = 0;
  return {
    async run(work) {
      if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
      else running += 1;
      try {
        return await work();
      } finally {
        // A place is handed on rather than freed, so that nobody can slip in between.
        const next = waiting.shift();
        if (next === undefined) running -= 1;
        else next();
      }
    },
  };
}
