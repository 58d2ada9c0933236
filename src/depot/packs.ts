import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { assertObjectId, startGit, storageError } from './git.ts';
import { createLimiter } from './limiter.ts';
import { openNewFile } from './new-file.ts';
import { type DepotFolder, removeQuietly, repositoryPath, temporaryPath } from './repository.ts';

export interface PackOptions {
  readonly applicationId: string;
  /** The commit that the receiver is to have. */
  readonly want: string;
  /** A commit that the receiver has with everything in it, or null if it has nothing. Must be in the depot. */
  readonly have: string | null;
  readonly signal?: AbortSignal | undefined;
}

/** A pack in a file, thin: to be received with `git index-pack --stdin --fix-thin`. */
export interface PreparedPack {
  readonly path: string;
  readonly sizeBytes: number;
  /** To be called once by each who got it; the file goes with the last one. Calling it again does nothing. */
  release(): Promise<void>;
}

export interface PackStore {
  /** Computes a pack, or shares the one that somebody else is computing or using. @throws {AppError} `storage_failed` */
  prepare(o: PackOptions): Promise<PreparedPack>;
}

interface SharedPack {
  readonly path: string;
  readonly sizeBytes: Promise<number>;
  readonly abort: AbortController;
  users: number;
}

/** Each uses every core and a good deal of memory. */
const MAX_PACKS_AT_ONCE = 2;
const PACK_TIMEOUT_MS = 3600 * 1000;

/** One per process: what it shares, it shares within the process. */
export function openPackStore(folder: DepotFolder): PackStore {
  const limiter = createLimiter(MAX_PACKS_AT_ONCE);
  const packs = new Map<string, SharedPack>();

  function begin(o: PackOptions): SharedPack {
    const abort = new AbortController();
    const path = temporaryPath(folder, 'pack');
    const sizeBytes = limiter.run(() => computePack(folder, { ...o, path, signal: abort.signal }));
    // Seen by each user; when there is none left it was aborted, and nobody wants to know.
    sizeBytes.catch(() => {});
    return { path, sizeBytes, abort, users: 0 };
  }

  async function leave(key: string, pack: SharedPack): Promise<void> {
    pack.users -= 1;
    if (pack.users > 0) return;
    if (packs.get(key) === pack) packs.delete(key);
    pack.abort.abort();
    await pack.sizeBytes.catch(() => {});
    await removeQuietly(pack.path);
  }

  return {
    async prepare(o) {
      o.signal?.throwIfAborted();
      const key = `${o.applicationId} ${o.want} ${o.have ?? ''}`;
      const pack = packs.get(key) ?? begin(o);
      packs.set(key, pack);
      pack.users += 1;
      try {
        const sizeBytes = await unlessAborted(pack.sizeBytes, o.signal);
        let isReleased = false;
        return {
          path: pack.path,
          sizeBytes,
          async release() {
            if (isReleased) return;
            isReleased = true;
            await leave(key, pack);
          },
        };
      } catch (error) {
        // A pack that failed is nobody's any more: the next one who asks tries anew.
        if (packs.get(key) === pack && o.signal?.aborted !== true) packs.delete(key);
        await leave(key, pack);
        throw error;
      }
    },
  };
}

async function computePack(
  folder: DepotFolder,
  o: PackOptions & { readonly path: string; readonly signal: AbortSignal },
): Promise<number> {
  const base = o.have === null ? '' : `^${assertObjectId(o.have)}\n`;
  const revisions = `${assertObjectId(o.want)}\n${base}`;
  // Before git is started: what a program has written when it ends is thrown away if nobody reads by then.
  const file = await openNewFile(o.path).catch((error: unknown) => {
    throw storageError(error);
  });
  const child = startGit(folder.git, {
    gitDir: repositoryPath(folder, o.applicationId),
    config: ['pack.windowMemory=128m'],
    args: ['pack-objects', '--revs', '--thin', '--stdout', '-q', '--delta-base-offset'],
    signal: o.signal,
    timeoutMs: PACK_TIMEOUT_MS,
  });
  child.stdin.end(revisions);
  try {
    await pipeline(child.stdout, file);
    await child.exited;
    return (await stat(o.path)).size;
  } catch (error) {
    child.kill();
    await child.exited.catch(() => {});
    if (o.signal.aborted) throw o.signal.reason;
    throw storageError(error);
  }
}

/** Waits for work that others wait for too: a signal ends the waiting, not the work. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  return await new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
