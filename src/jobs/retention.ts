import type { Logger } from 'pino';
import { deleteOldAuditEvents } from '../store/audit-events.ts';
import type { Database } from '../store/database.ts';
import { deleteOldDeploymentEvents } from '../store/events.ts';
import { deleteOldJobs } from '../store/jobs.ts';
import { deleteExpiredTokens } from '../store/users.ts';
import { deleteOldDeliveries } from '../store/webhook-deliveries.ts';
import { pause } from './pause.ts';

/** Rows in one transaction: it must never hold others up. */
const PORTION = 500;
const BREATH_MS = 50;
const INTERVAL_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** What is kept for how long. */
export interface Retention {
  /** Of jobs that are over and what goes with them. */
  readonly days: number;
  /** Of the audit; 0 is for ever. Default 0. */
  readonly auditDays?: number;
}

/**
 * Deletes what is older than `days`: jobs that are over with their events, what deployments have printed, and
 * deliveries of webhooks that are over.
 * Deployments themselves, and what became of them, are kept for ever. Of the audit goes what is older than
 * `auditDays`, and of tokens what has expired.
 */
export async function deleteOldHistory(
  database: Database,
  { days, auditDays = 0, signal }: Retention & { readonly signal: AbortSignal },
): Promise<{
  jobs: number;
  outputs: number;
  deliveries: number;
  auditEvents: number;
  tokens: number;
}> {
  const daysAgo = (count: number): Date => new Date(Date.now() - count * DAY_MS);
  const before = daysAgo(days);
  const oldAudit = { before: daysAgo(auditDays), limit: PORTION };
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
    deliveries: await drain(() => deleteOldDeliveries(database.db, old)),
    auditEvents:
      auditDays === 0 ? 0 : await drain(() => deleteOldAuditEvents(database.db, oldAudit)),
    tokens: await drain(() => deleteExpiredTokens(database.db, PORTION)),
  };
}

/** Tidies up now and every hour, until `signal`. Several workers may do so at once. */
export async function keepTidy(
  database: Database,
  { log, ...retention }: Retention & { readonly log: Logger; readonly signal: AbortSignal },
): Promise<void> {
  const { signal } = retention;
  while (!signal.aborted) {
    try {
      const deleted = await deleteOldHistory(database, retention);
      if (Object.values(deleted).some((count) => count > 0)) {
        log.info(deleted, 'old history deleted');
      }
    } catch (error) {
      log.warn({ err: error }, 'old history could not be deleted; it is tried again in an hour');
    }
    await pause(INTERVAL_MS, signal);
  }
}
