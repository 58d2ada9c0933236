import { randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Health } from './api/routes/root.ts';
import { shareRecent } from './metrics/share-recent.ts';
import { storageFault } from './storage-fault.ts';

const TIMEOUT_MS = 2000;
/** Anybody may ask, so asking often must cost nothing. */
const RECENT_MS = 1000;
/** More than file systems keep back for small files, so that a full one shows. */
const PROBE_BYTES = 64 * 1024;

/** The parts as their owners can ask them. */
export interface HealthProbes {
  readonly database: () => Promise<unknown>;
  readonly queue: () => Promise<unknown>;
  readonly storage: () => Promise<unknown>;
}

/** Makes the check of `/readyz`: every part is really used, all at once, and none is waited for beyond 2 seconds. */
export function createHealthCheck(probes: HealthProbes): () => Promise<Health> {
  const share = (probe: () => Promise<unknown>): (() => Promise<'up' | 'down'>) => {
    const ask = shareRecent(probe, { recentMs: RECENT_MS, timeoutMs: TIMEOUT_MS });
    return () =>
      ask().then(
        () => 'up',
        () => 'down',
      );
  };
  const parts = {
    database: share(probes.database),
    queue: share(probes.queue),
    storage: share(probes.storage),
  };
  return async () => {
    const [database, queue, storage] = await Promise.all([
      parts.database(),
      parts.queue(),
      parts.storage(),
    ]);
    return { database, queue, storage };
  };
}

/**
 * Writes something into a folder, to the disk itself, and removes it again.
 * @throws {AppError} `storage_failed` with what to do: the folder is not writable, or the disk is full
 */
export async function probeStorage(directory: string): Promise<void> {
  const path = join(directory, `.probe-${randomUUID()}`);
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write(Buffer.alloc(PROBE_BYTES, 1));
      await file.sync();
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
  } catch (cause) {
    throw storageFault(directory, cause);
  }
}
