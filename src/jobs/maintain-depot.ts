import { MASTER_PACKAGE } from '../domain/package-map.ts';
import { findApplicationById } from '../store/applications.ts';
import { listDepotRoots, listRefOwners } from '../store/depot-upkeep.ts';
import type { JobDependencies } from './dependencies.ts';
import type { JobHandler } from './handler.ts';

/** The name of this kind of job. */
export const MAINTAIN_DEPOT = 'maintain_depot';

/** What is younger than this is left alone. */
export const UPKEEP_GRACE_MS = 3600 * 1000;

/**
 * Packs an application's depot anew and lets go of what nobody needs. Everything that rows name is made sure of first.
 * Others go on with their work meanwhile; only what writes into the depot and what deletes from it keep apart, see
 * `DepotGuard`.
 */
export function maintainDepotHandler(
  dependencies: Pick<JobDependencies, 'database' | 'depot'>,
): JobHandler<'maintain_depot'> {
  const { database, depot } = dependencies;
  return {
    run: async ({ applicationId }, context) => {
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
          listOwners: () => listRefOwners(database.db, applicationId),
          graceMs: UPKEEP_GRACE_MS,
          signal: context.signal,
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
          dropped_refs: report.droppedRefs,
          missing: missing.slice(0, 100),
          pruned: report.isPruned,
        },
      };
    },
  };
}
