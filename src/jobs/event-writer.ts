import type { Database } from '../store/database.ts';
import { appendEvents, type NewEvent } from '../store/events.ts';

/** Events in one insert at most. */
const BATCH = 100;

/**
 * Writes the events of one job in their order. Those that come while others are being written go together in the
 * next insert, so that a thousand servers that end at once do not stand in line for a thousand commits.
 * @returns a function that resolves once its event is stored
 */
export function createEventWriter(
  database: Database,
  of: { readonly jobId: string; readonly deploymentId: string | null },
): (kind: string, data: unknown) => Promise<void> {
  let waiting: { event: NewEvent; done: () => void; failed: (error: unknown) => void }[] = [];
  let isWriting = false;

  const write = async (): Promise<void> => {
    isWriting = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      waiting = waiting.slice(BATCH);
      try {
        await appendEvents(
          database.db,
          batch.map(({ event }) => event),
        );
        for (const { done } of batch) done();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    isWriting = false;
  };

  return (kind, data) =>
    new Promise((done, failed) => {
      waiting.push({ event: { ...of, kind, data }, done, failed });
      if (!isWriting) void write();
    });
}
