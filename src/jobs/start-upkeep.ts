import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Depot } from '../depot/depot.ts';
import { discardAbandoned, uploadsDirectory } from '../depot/upload-spool.ts';
import { MUSTER_USERNAME } from '../domain/names.ts';
import type { Queue } from '../queue/queue.ts';
import { findApplicationById, lockApplication } from '../store/applications.ts';
import type { Database } from '../store/database.ts';
import { hasUnfinishedJob, listAwaitedUploads } from '../store/depot-upkeep.ts';
import { insertJob } from '../store/jobs.ts';
import { MAINTAIN_DEPOT, UPKEEP_GRACE_MS } from './maintain-depot.ts';

const INTERVAL_MS = 600_000;
/** What else lies in the depot's folder is none of ours. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface UpkeepOptions {
  readonly config: Config;
  readonly database: Database;
  readonly depot: Depot;
  readonly queue: Queue;
  readonly log: Logger;
}

export interface Upkeep {
  /** Stops looking, and waits for a look that is under way. */
  close(): Promise<void>;
}

/** Looks every ten minutes which depots need to be maintained, starts a job for each, and clears the spool. */
export function startUpkeep(options: UpkeepOptions): Upkeep {
  let looking: Promise<void> | null = null;
  const timer = setInterval(() => {
    looking ??= beginUpkeep(options)
      .catch((error: unknown) => {
        options.log.warn({ err: error }, 'the depots could not be looked through');
      })
      .finally(() => {
        looking = null;
      });
  }, INTERVAL_MS);
  return {
    close: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}

/** Starts a job for each depot that needs it and has none, and removes uploads that a crash left behind. */
export async function beginUpkeep(options: UpkeepOptions): Promise<void> {
  const { config, database, depot, queue, log } = options;
  const awaited = await listAwaitedUploads(database.db);
  const discarded = await discardAbandoned(uploadsDirectory(config.dataDirectory), awaited);
  if (discarded > 0) log.info({ discarded }, 'abandoned uploads removed');
  const needy = await depot.listUpkeepNeeds({ graceMs: UPKEEP_GRACE_MS });
  for (const applicationId of needy.filter((id) => UUID.test(id))) {
    const job = await database.transaction(async (tx) => {
      // Of several workers that look at the same time, one starts it.
      await lockApplication(tx, applicationId);
      if ((await findApplicationById(tx, applicationId)) === null) return null;
      if (await hasUnfinishedJob(tx, applicationId, MAINTAIN_DEPOT)) return null;
      const data = { applicationId };
      return insertJob(tx, {
        kind: MAINTAIN_DEPOT,
        data,
        username: MUSTER_USERNAME,
        applicationId,
      });
    });
    if (job === null) continue;
    log.info({ jobId: job.id, applicationId }, 'a depot is to be maintained');
    await queue.ring(job.id);
  }
}
