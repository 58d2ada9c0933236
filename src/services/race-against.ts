/**
 * Waits for a change, but no longer than `ms`, nor after the signal was aborted. Leaves no timer and no listener behind.
 * @returns true if `changed` came first
 */
export function raceAgainst(
  changed: Promise<void> | null,
  ms: number,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (isChanged: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
      resolve(isChanged);
    };
    const leave = (): void => settle(false);
    const timer = setTimeout(leave, ms);
    signal.addEventListener('abort', leave);
    if (signal.aborted) leave();
    void changed?.then(() => settle(true));
  });
}
