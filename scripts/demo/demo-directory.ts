import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { endProcess, type ProcessMark, processMark, readMark } from './process-mark.ts';

/** The demo's own folder, held against a second demo. */
export interface DemoDirectory {
  readonly path: string;
  /** Muster's data directory. */
  readonly data: string;
  readonly log: string;
  /** What a second demo is told, and what it must end if this one is killed. */
  note(running: { readonly address: string; readonly muster: ProcessMark }): Promise<void>;
  /** Let another demo have the folder; its files stay. */
  release(): Promise<void>;
  /** Remove the folder with all that is in it. */
  remove(): Promise<void>;
}

const LOCK = 'demo.lock';
const MUSTER_END_MS = 60_000;

const mark = z.object({ pid: z.number(), startedAt: z.string() });
const lockSchema = z.object({
  demo: mark,
  address: z.string().nullable(),
  muster: mark.nullable(),
});
type Lock = z.infer<typeof lockSchema>;

/**
 * Takes the demo's folder and empties it of what an earlier demo left. Only a folder that is empty or has a demo's
 * lock file in it is emptied: a slip of the finger in `--directory` must not cost anybody their files.
 * @throws {Error} saying who runs there, or that the folder is not a demo's
 */
export async function openDemoDirectory(path: string): Promise<DemoDirectory> {
  await mkdir(path, { recursive: true });
  const found = await readdir(path);
  if (found.length > 0 && !found.includes(LOCK)) {
    throw new Error(`${path} is not empty and not a demo's folder; choose another --directory.`);
  }
  const lockFile = join(path, LOCK);
  await refuseIfHeld(path, await readLock(lockFile));
  const own: Lock = { demo: await processMark(process.pid), address: null, muster: null };
  await writeLock(lockFile, own);
  // Of two demos that begin in the same instant the one that wrote last has the folder.
  const held = await readLock(lockFile);
  if (held?.demo.pid !== process.pid) await refuseIfHeld(path, held);
  await empty(path);
  return {
    path,
    data: join(path, 'data'),
    log: join(path, 'muster.log'),
    note: (running) => writeLock(lockFile, { ...own, ...running }),
    release: () => writeFile(lockFile, ''),
    remove: async () => {
      await empty(path);
      await rm(lockFile, { force: true });
      // Not if somebody has put something there meanwhile.
      await rmdir(path).catch(() => undefined);
    },
  };
}

async function refuseIfHeld(path: string, lock: Lock | null): Promise<void> {
  if (lock === null) return;
  const { demo, address, muster } = lock;
  if ((await readMark(demo.pid)) === demo.startedAt) {
    const where = address === null ? '' : `, with Muster at ${address}`;
    throw new Error(
      `A demo is still running on ${path} as process ${demo.pid}${where}. Stop it with Ctrl-C in its terminal or with "kill ${demo.pid}", or choose another --directory.`,
    );
  }
  // That demo was killed, and its Muster may be at its end or know nothing of it.
  if (muster !== null) await endProcess(muster, MUSTER_END_MS);
}

async function empty(path: string): Promise<void> {
  await removeRelocatedDatabase(join(path, 'data'));
  const names = (await readdir(path)).filter((name) => name !== LOCK);
  for (const name of names) {
    await rm(join(path, name), { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * PostgreSQL does not run as root, and its own account may not be able to reach this folder, such as one below /root.
 * Muster then keeps the database elsewhere, and says in these two files where, and whose it is.
 */
async function removeRelocatedDatabase(data: string): Promise<void> {
  const own = join(data, 'postgres');
  const place = (await readIfThere(join(own, 'moved-to'))).trim();
  if (place === '') return;
  const owner = (await readIfThere(join(place, 'owner'))).trim();
  if (owner === own) await rm(place, { recursive: true, force: true, maxRetries: 5 });
}

async function readLock(file: string): Promise<Lock | null> {
  try {
    return lockSchema.parse(JSON.parse(await readIfThere(file)));
  } catch {
    return null;
  }
}

async function writeLock(file: string, lock: Lock): Promise<void> {
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(lock)}\n`);
  await rename(draft, file);
}

async function readIfThere(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return '';
  }
}
