import { randomUUID } from 'node:crypto';
import type { DepotGuard } from '../depot/guard.ts';
import type { Database } from '../store/database.ts';
import {
  deleteDeadDepotWriters,
  deleteDepotWriter,
  depotLeaseKey,
  depotWriterKey,
  findLeaseHolder,
  hasDepotWriters,
} from '../store/depot-upkeep.ts';
import { holdLeases } from './hold-leases.ts';
import { pause } from './pause.ts';

const WRITER_POLL_MS = 500;
/** A writer that came at the wrong moment sees so and leaves again. */
const WITHDRAWAL_MS = 2000;
const WITHDRAWAL_POLL_MS = 50;
const NEVER_ABORTED = new AbortController().signal;

/** How patient the one who deletes is. */
export interface DepotGuardOptions {
  /** Default 10 minutes. */
  readonly quietWaitMs?: number;
  readonly quietPollMs?: number;
}

/**
 * Guards depots by leases, of which PostgreSQL knows: one for each who writes, and one for the one who deletes. Each
 * takes its own first and then looks for the other's, so that of two at least one sees the other; and who writes waits,
 * who deletes withdraws and tries again. A lease whose holder died ends a minute later.
 */
export function createDepotGuard(
  database: Database,
  { quietWaitMs = 600_000, quietPollMs = 1000 }: DepotGuardOptions = {},
): DepotGuard {
  const { db } = database;
  return {
    whileWriting: async ({ applicationId, signal = NEVER_ABORTED }, work) => {
      const isDeletedFrom = async (): Promise<boolean> =>
        (await findLeaseHolder(db, depotLeaseKey(applicationId))) !== null;
      for (;;) {
        signal.throwIfAborted();
        const key = depotWriterKey(applicationId);
        const request = { keys: [key], holder: key, signal };
        const done = (await isDeletedFrom())
          ? null
          : await holdLeases(database, request, async ({ lost: held }) => {
              if (await isDeletedFrom()) return { value: null, keep: false };
              return { value: { result: await work(held) }, keep: false };
            }).finally(() => deleteDepotWriter(db, key).catch(() => {}));
        if (done?.held === true && done.value !== null) return done.value.result;
        await pause(WRITER_POLL_MS, signal);
      }
    },
    whileQuiet: async ({ applicationId, signal = NEVER_ABORTED }, work) => {
      await deleteDeadDepotWriters(db, applicationId);
      const key = depotLeaseKey(applicationId);
      const request = { keys: [key], holder: `upkeep:${randomUUID()}`, signal };
      const isQuiet = async (): Promise<boolean> => !(await hasDepotWriters(db, applicationId));
      const end = performance.now() + quietWaitMs;
      do {
        // Looked for before as well: for as long as the lease is held, those who write wait.
        const done = (await isQuiet())
          ? await holdLeases(database, request, async ({ lost: held }) => {
              if (!(await isQuiet())) return { value: false, keep: false };
              await work(
                async () =>
                  (await comesTrue(isQuiet, held)) &&
                  (await findLeaseHolder(db, key)) === request.holder &&
                  !held.aborted,
              );
              return { value: true, keep: false };
            })
          : null;
        if (done?.held === true && done.value) return;
        await pause(quietPollMs, signal);
        signal.throwIfAborted();
      } while (performance.now() < end);
    },
  };
}

/** Whether a condition is true, or becomes so in the time in which who does not belong here leaves. */
async function comesTrue(condition: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  const end = performance.now() + WITHDRAWAL_MS;
  while (!(await condition())) {
    if (signal.aborted || performance.now() > end) return false;
    await pause(WITHDRAWAL_POLL_MS, signal);
  }
  return true;
}
