/** Work that is asked for more often than it needs to be done. */
export interface Coalesced {
  /** Asks for the work: done at once, or once more when what is under way has ended. */
  soon(): void;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

/**
 * Runs `work` once at a time; asked for meanwhile, however often, once more afterwards.
 * @param onError told of what `work` throws, which ends nothing
 * @param signal aborted: nothing more is begun. Default never
 */
export function coalesced(
  work: () => Promise<void>,
  { onError, signal }: { onError: (error: unknown) => void; signal?: AbortSignal },
): Coalesced {
  let current: Promise<void> | null = null;
  let isAskedFor = false;
  const isWanted = (): boolean => isAskedFor && signal?.aborted !== true;
  const soon = (): void => {
    isAskedFor = true;
    current ??= (async () => {
      while (isWanted()) {
        isAskedFor = false;
        await work().catch(onError);
      }
    })().finally(() => {
      current = null;
      // Asked for between the last look and this moment.
      if (isWanted()) soon();
    });
  };
  return { soon, idle: () => current ?? Promise.resolve() };
}
