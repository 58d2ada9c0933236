import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { create as createTar } from 'tar';
import { assertObjectId, runGit, startGit, storageError } from './git.ts';
import { createLimiter } from './limiter.ts';
import { openNewFile } from './new-file.ts';
import {
  type DepotFolder,
  removeQuietly,
  repositoryPath,
  temporaryPath,
  withTemporary,
} from './repository.ts';

/**
 * What a pack is made for:
 *
 * - `thin`: few bytes. Changes may be told against objects that only the receiver has, so that it has to work the pack
 *   out: `git index-pack --stdin --fix-thin`.
 * - `indexed`: little work. Nothing in it rests on anything outside, and it comes with its index, as a tar of the two,
 *   to be put into `objects/pack`.
 * - `quick`: as `indexed`, and nobody looks for what its objects have in common either.
 */
export type PackForm = 'thin' | 'indexed' | 'quick';

export interface PackOptions {
  readonly applicationId: string;
  /** The commit that the receiver is to have. */
  readonly want: string;
  /** A commit that the receiver has with everything in it, or null if it has nothing. Must be in the depot. */
  readonly have: string | null;
  readonly form: PackForm;
  readonly signal?: AbortSignal | undefined;
}

/** A pack in a file. */
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
    const compute = o.form === 'thin' ? computeThinPack : computeIndexedPack;
    const sizeBytes = limiter.run(() => compute(folder, { ...o, path, signal: abort.signal }));
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
      const key = `${o.applicationId} ${o.want} ${o.have ?? ''} ${o.form}`;
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

type PackFile = PackOptions & { readonly path: string; readonly signal: AbortSignal };

/** What `git pack-objects --revs` is to take, and how it may use the machine. */
function packing(folder: DepotFolder, o: PackFile) {
  const base = o.have === null ? '' : `^${assertObjectId(o.have)}\n`;
  return {
    revisions: `${assertObjectId(o.want)}\n${base}`,
    call: {
      gitDir: repositoryPath(folder, o.applicationId),
      config: ['pack.windowMemory=128m', 'pack.writeReverseIndex=false'],
      signal: o.signal,
      timeoutMs: PACK_TIMEOUT_MS,
    },
    args: ['pack-objects', '--revs', '-q', '--delta-base-offset'],
  };
}

async function computeThinPack(folder: DepotFolder, o: PackFile): Promise<number> {
  const { revisions, call, args } = packing(folder, o);
  // Before git is started: what a program has written when it ends is thrown away if nobody reads by then.
  const file = await openNewFile(o.path).catch((error: unknown) => {
    throw storageError(error);
  });
  const child = startGit(folder.git, { ...call, args: [...args, '--thin', '--stdout'] });
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

async function computeIndexedPack(folder: DepotFolder, o: PackFile): Promise<number> {
  const { revisions, call, args } = packing(folder, o);
  const search = o.form === 'quick' ? ['--window=0'] : [];
  return await withTemporary(folder, 'indexed-pack', async (directory) => {
    try {
      await mkdir(directory, { mode: 0o700 });
      await runGit(folder.git, {
        ...call,
        args: [...args, ...search, join(directory, 'pack')],
        input: revisions,
      });
      // The index last: a pack without one is not seen.
      const files = (await readdir(directory)).toSorted().toReversed();
      await createTar({ file: o.path, cwd: directory, portable: true, mode: 0o600 }, files);
      return (await stat(o.path)).size;
    } catch (error) {
      if (o.signal.aborted) throw o.signal.reason;
      throw storageError(error);
    }
  });
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
