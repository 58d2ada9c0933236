import type { Logger } from 'pino';
import type { Database } from '../store/database.ts';
import { deleteOldDeploymentEvents } from '../store/events.ts';
import { deleteOldJobs } from '../store/jobs.ts';
import { pause } from './pause.ts';

/** Rows in one transaction: it must never hold others up. */
const PORTION = 500;
const BREATH_MS = 50;
const INTERVAL_MS = 3_600_000;
const DAY_MS = 86_400_000;

/**
 * Deletes what is older than `days`: jobs that are over with their events, and what deployments have printed.
 * Deployments themselves, and what became of them, are kept for ever.
 */
export async function deleteOldHistory(
  database: Database,
  { days, signal }: { readonly days: number; readonly signal: AbortSignal },
): Promise<{ jobs: number; outputs: number }> {
  const before = new Date(Date.now() - days * DAY_MS);
  const old = { before, limit: PORTION };
  const drain = async (deletePortion: () => Promise<number>): Promise<number> => {
    let deleted = 0;
    while (!signal.aborted) {
      const count = await deletePortion();
      deleted += count;
      if (count < PORTION) break;
      await pause(BREATH_MS, signal);
    }
    return deleted;
  };
  return {
    jobs: await drain(() => database.transaction((tx) => deleteOldJobs(tx, old))),
    outputs: await drain(() => deleteOldDeploymentEvents(database.db, { ...old, kind: 'output' })),
  };
}

/** Tidies up now and every hour, until `signal`. Several workers may do so at once. */
export async function keepTidy(
  database: Database,
  {
    days,
    log,
    signal,
  }: { readonly days: number; readonly log: Logger; readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    try {
      const deleted = await deleteOldHistory(database, { days, signal });
      if (deleted.jobs + deleted.outputs > 0) log.info(deleted, 'old history deleted');
    } catch (error) {
      log.warn({ err: error }, 'old history could not be deleted; it is tried again in an hour');
    }
    await pause(INTERVAL_MS, signal);
  }
}
