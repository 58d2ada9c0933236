import { MASTER_PACKAGE } from '../domain/package-map.ts';
import { findApplicationById } from '../store/applications.ts';
import type { Database } from '../store/database.ts';
import {
  countJobsInHand,
  depotLeaseKey,
  findLeaseHolder,
  listDepotRoots,
} from '../store/depot-upkeep.ts';
import type { JobDependencies } from './dependencies.ts';
import type { JobHandler } from './handler.ts';
import { holdLeases } from './hold-leases.ts';
import { pause } from './pause.ts';

/** The name of this kind of job, which is not to wait for itself. */
export const MAINTAIN_DEPOT = 'maintain_depot';

/** What is younger than this is left alone. */
export const UPKEEP_GRACE_MS = 3600 * 1000;

const BUSY_MS = 60_000;
/** How long new ingests may be kept waiting for running ones to end. */
const QUIET_TRIES = 10;
const QUIET_TRY_MS = 1000;
const LEASE_POLL_MS = 500;

/**
 * Packs an application's depot anew and lets go of what nobody needs. Everything that rows name is made sure of first.
 * While another job of the application is under way it waits.
 */
export function maintainDepotHandler(
  dependencies: Pick<JobDependencies, 'database' | 'depot'>,
): JobHandler<'maintain_depot'> {
  const { database, depot } = dependencies;
  return {
    run: async ({ applicationId }, context) => {
      if (await isBusy(database, applicationId)) return { outcome: 'again', afterMs: BUSY_MS };
      const { trees, commits } = await listDepotRoots(database.db, applicationId);
      const report = await depot
        .maintain({
          applicationId,
          trees: trees.map(({ buildId, name, tree }) => ({
            buildId,
            packageName: name === MASTER_PACKAGE ? null : name,
            tree,
          })),
          commits,
          graceMs: UPKEEP_GRACE_MS,
          signal: context.signal,
          whileQuiet: (work) =>
            whileQuiet(
              database,
              { applicationId, jobId: context.jobId, signal: context.signal },
              work,
            ),
        })
        .catch(async (error: unknown) => {
          // The application was deleted under its feet.
          if ((await findApplicationById(database.db, applicationId)) === null) return null;
          throw error;
        });
      if (report === null) return { outcome: 'succeeded', result: { deleted: true } };
      const { missing, restoredRefs } = report;
      if (missing.length > 0) {
        context.log.error({ missing }, 'the depot lacks objects that are needed; restore a backup');
      } else if (restoredRefs > 0) {
        context.log.warn({ restoredRefs }, 'objects of the depot were needed but not kept alive');
      }
      return {
        outcome: 'succeeded',
        result: {
          packs_before: report.packsBefore,
          packs_after: report.packsAfter,
          bytes_before: report.bytesBefore,
          bytes_after: report.bytesAfter,
          restored_refs: restoredRefs,
          missing: missing.slice(0, 100),
          pruned: report.isPruned,
        },
      };
    },
  };
}

/** Waits while things are being taken out of an application's depot, which is a matter of seconds. For who takes something in. */
export async function waitForDepot(
  database: Database,
  applicationId: string,
  signal: AbortSignal,
): Promise<void> {
  const key = depotLeaseKey(applicationId);
  while ((await findLeaseHolder(database.db, key)) !== null) {
    await pause(LEASE_POLL_MS, signal);
    signal.throwIfAborted();
  }
}

/**
 * Runs `work` while no other job of the application is in hand. Who takes something in is a running job first and then
 * looks at the lease; here it is the other way round, so that one of the two always sees the other.
 */
async function whileQuiet(
  database: Database,
  o: { readonly applicationId: string; readonly jobId: string; readonly signal: AbortSignal },
  work: (isStillQuiet: () => Promise<boolean>) => Promise<void>,
): Promise<void> {
  const key = depotLeaseKey(o.applicationId);
  const holder = `job:${o.jobId}`;
  await holdLeases(database, { keys: [key], holder, signal: o.signal }, async (_, signal) => {
    for (let tries = 0; tries < QUIET_TRIES; tries += 1) {
      if (!(await isBusy(database, o.applicationId))) {
        await work(
          async () => !signal.aborted && (await findLeaseHolder(database.db, key)) === holder,
        );
        break;
      }
      await pause(QUIET_TRY_MS, signal);
      signal.throwIfAborted();
    }
    return { value: null, keep: false };
  });
}

async function isBusy({ db }: Database, applicationId: string): Promise<boolean> {
  return (await countJobsInHand(db, applicationId, { exceptKind: MAINTAIN_DEPOT })) > 0;
}
