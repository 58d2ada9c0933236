/** Where one of several waits until all of them are ready. */
export interface Seat {
  /** Says that it is ready. May be repeated. */
  arrive(): void;
  /** Says that the others need not wait for it, as it has failed or has nothing to do. May be repeated. */
  leave(): void;
  /** Resolves when all have arrived or left, or were waited for long enough; never rejects. */
  readonly opened: Promise<void>;
}

/**
 * Lets `parties` go on at the same moment, each once its seat has arrived; but who is ready waits for the others no longer
 * than `waitMs` milliseconds from when the first one was.
 * @returns takes a seat; to be called once for each party
 */
export function openBarrier(parties: number, waitMs: number): () => Seat {
  let awaited = parties;
  let timer: NodeJS.Timeout | undefined;
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const settle = (): void => {
    awaited -= 1;
    if (awaited > 0) return;
    clearTimeout(timer);
    open();
  };
  return () => {
    let isSettled = false;
    const once = (): void => {
      if (isSettled) return;
      isSettled = true;
      settle();
    };
    return {
      arrive: () => {
        timer ??= setTimeout(open, waitMs);
        once();
      },
      leave: once,
      opened,
    };
  };
}
