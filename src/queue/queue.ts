/**
 * The doorbell: it says "look at job X", and nothing else. All truth is in PostgreSQL, so that losing the
 * queue loses nothing; a reconciler in the worker rings again for whatever was missed. Source: DESIGN.md 1, 2.
 */
export interface Queue {
  /** Rings for a job after `delayMs` (default 0). Never throws: what is not rung for now is found later. */
  ring(jobId: string, delayMs?: number): Promise<void>;
  /** Hands every rung job to `work`, at most `concurrency` at once. Called once, by workers only. */
  process(work: (jobId: string) => Promise<void>, options: { concurrency: number }): void;
  /** @throws if the queue cannot be reached */
  ping(): Promise<void>;
  /** Takes no more work and waits for what is under way. */
  close(): Promise<void>;
}
