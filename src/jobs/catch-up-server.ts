import { MUSTER_USERNAME } from '../domain/names.ts';
import { lockApplication } from '../store/applications.ts';
import { type CatchUpCaller, startCatchUps } from '../store/catch-up.ts';
import { listCatchingUp } from '../store/missed.ts';
import type { JobDependencies } from './dependencies.ts';

const MUSTER: CatchUpCaller = {
  username: MUSTER_USERNAME,
  userId: null,
  remoteAddress: null,
  requestId: null,
};

/**
 * Has a server that is reached again get what it has missed, of those applications that want it so (`auto_catchup`). The
 * worker's reconciler finds the jobs.
 */
export async function catchUpServer(
  { database }: JobDependencies,
  serverId: string,
): Promise<void> {
  for (const { id, name } of await listCatchingUp(database.db, serverId)) {
    await database.transaction(async (tx) => {
      await lockApplication(tx, id);
      const missed = { applicationId: id, application: name, serverId, isUnasked: true };
      await startCatchUps(tx, missed, MUSTER);
    });
  }
}
