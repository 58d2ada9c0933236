import { mkdir, readdir, stat, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { splitRecords } from './byte-reader.ts';
import { commitTree, keepHead } from './commits.ts';
import { assertObjectId, runGit, storageError, streamGit } from './git.ts';
import type { DepotGuard } from './guard.ts';
import { publishPacks, withQuarantine } from './quarantine.ts';
import {
  buildRef,
  buildsRefPrefix,
  changeRefs,
  listRefTrees,
  listStrayRefs,
  packageRef,
  type RefOwners,
} from './refs.ts';
import { type DepotFolder, exists, repositoryPath, withTemporary } from './repository.ts';

/** A tree that a row names: the whole build, or one of its packages. */
export interface NeededTree {
  readonly buildId: string;
  /** Null for the whole build. */
  readonly packageName: string | null;
  readonly tree: string;
}

/** A commit that a row names, with the branch whose history it is of. */
export interface NeededCommit {
  readonly gitrepoId: string;
  readonly branch: string;
  readonly commit: string;
}

export interface MaintainOptions {
  readonly applicationId: string;
  /** Everything that rows name. What of it nothing keeps alive any more is kept alive from here on. */
  readonly trees: readonly NeededTree[];
  readonly commits: readonly NeededCommit[];
  /**
   * The builds and gitrepos that there are; refs of others are what a crash has left. Asked while nobody writes: whoever
   * makes refs has had a row before. Default: all refs stay.
   */
  readonly listOwners?: (() => Promise<RefOwners>) | undefined;
  /** Packs that were written in this time stay as they are: somebody may be about to point to what is in them. */
  readonly graceMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface UpkeepReport {
  readonly packsBefore: number;
  readonly packsAfter: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Refs that were missing although a row needs what they keep alive. Always 0, unless something went wrong before. */
  readonly restoredRefs: number;
  /** Refs that were let go of, as no row names their build or gitrepo. What they kept alive goes the next time. */
  readonly droppedRefs: number;
  /** Objects that rows name and that are not there: the depot has been damaged. */
  readonly missing: readonly string[];
  /** False if what nobody needs is still there: something was being taken in, or still needed the old packs. */
  readonly isPruned: boolean;
}

/** As many packs are found through quickly; each upload and each package map adds one. */
const MANY_PACKS = 50;
/** Packing everything anew reads everything. */
const MIN_INTERVAL_MS = 6 * 3600 * 1000;
const PACK_TIMEOUT_MS = 12 * 3600 * 1000;
/** Marks in the repository: when something was let go, and when it was packed anew. */
const GARBAGE_MARK = 'muster-garbage';
const MAINTAINED_MARK = 'muster-maintained';

/** Notes that an application's repository holds what nobody needs any more. */
export async function noteGarbage(folder: DepotFolder, applicationId: string): Promise<void> {
  await touch(join(repositoryPath(folder, applicationId), GARBAGE_MARK));
}

/** The applications whose repository has many packs, or something to let go for longer than `graceMs`. */
export async function listUpkeepNeeds(
  folder: DepotFolder,
  { graceMs }: { readonly graceMs: number },
): Promise<string[]> {
  const names = await readdir(folder.directory).catch((error: unknown) => {
    throw storageError(error);
  });
  const needy: string[] = [];
  for (const name of names.filter((each) => each.endsWith('.git'))) {
    const gitDir = join(folder.directory, name);
    if ((await ageMs(join(gitDir, MAINTAINED_MARK))) < MIN_INTERVAL_MS) continue;
    const garbageMs = await ageMs(join(gitDir, GARBAGE_MARK));
    const isOld = garbageMs !== Number.POSITIVE_INFINITY && garbageMs > graceMs;
    const packs = await listPacks(gitDir).catch(() => []);
    if (isOld || packs.length > MANY_PACKS) needy.push(name.slice(0, -'.git'.length));
  }
  return needy;
}

/**
 * Packs everything that is kept alive into one pack, and then removes the packs that it replaces, with all in them
 * that nobody needs. Not by `git gc`: that would delete at a moment of its own choosing, in a process that lives on when
 * Muster dies. Here git only writes, and what it wrote is found complete before the first old pack goes.
 * @returns null if there is no repository
 * @throws {AppError} `storage_failed`; the reason of the signal
 */
export async function maintainRepository(
  folder: DepotFolder,
  guard: DepotGuard,
  o: MaintainOptions,
): Promise<UpkeepReport | null> {
  const gitDir = repositoryPath(folder, o.applicationId);
  if (!(await exists(gitDir))) return null;
  const begunAt = Date.now();
  const kept = await guard.whileWriting(o, () => keepNeeded(folder, o));
  const before = await listPacks(gitDir);
  const fresh = await withQuarantine(folder, o.applicationId, async (quarantine) => {
    await packAnew(folder, { ...o, gitDir, quarantine });
    const written = await listPacks(quarantine);
    await publishPacks(folder, o.applicationId, quarantine);
    return new Set(written.map(({ name }) => name));
  });
  const replaced = before.filter(
    ({ name, modifiedMs }) => !fresh.has(name) && modifiedMs < begunAt - o.graceMs,
  );
  const outcome = { isPruned: false, droppedRefs: 0 };
  await guard.whileQuiet(o, async (isStillQuiet) => {
    if (await isStillQuiet()) outcome.droppedRefs = await dropStrays(folder, o);
    const leaving = new Set(replaced.map(({ name }) => name));
    if (!(await isCompleteWithout(folder, { ...o, gitDir, leaving }))) return;
    if (!(await removePacks(gitDir, replaced, isStillQuiet))) return;
    if (!(await isStillQuiet())) return;
    await pruneLoose(folder, { ...o, gitDir });
    outcome.isPruned = true;
  });
  // What was let go of since this began may still be there.
  if (outcome.isPruned && (await ageMs(join(gitDir, GARBAGE_MARK))) > Date.now() - begunAt) {
    await unlink(join(gitDir, GARBAGE_MARK)).catch(() => {});
  }
  await touch(join(gitDir, MAINTAINED_MARK));
  const after = await listPacks(gitDir);
  return {
    packsBefore: before.length,
    packsAfter: after.length,
    bytesBefore: sumBytes(before),
    bytesAfter: sumBytes(after),
    ...kept,
    ...outcome,
  };
}

/** Lets go of what is of no build and no gitrepo any more. @returns how many refs */
async function dropStrays(folder: DepotFolder, o: MaintainOptions): Promise<number> {
  if (o.listOwners === undefined) return 0;
  const gitDir = repositoryPath(folder, o.applicationId);
  const strays = await listStrayRefs(folder.git, gitDir, await o.listOwners());
  if (strays.length === 0) return 0;
  await changeRefs(
    folder.git,
    gitDir,
    strays.map(({ name }) => ({ name, id: null })),
  );
  await noteGarbage(folder, o.applicationId);
  return strays.length;
}

/** Makes a ref for whatever rows name and no ref keeps alive. */
async function keepNeeded(
  folder: DepotFolder,
  o: MaintainOptions,
): Promise<{ restoredRefs: number; missing: string[] }> {
  const gitDir = repositoryPath(folder, o.applicationId);
  const treeByRef = await listRefTrees(folder.git, gitDir, buildsRefPrefix());
  const refOf = ({ buildId, packageName }: NeededTree): string =>
    packageName === null ? buildRef(buildId) : packageRef(buildId, packageName);
  const trees = o.trees.filter((needed) => treeByRef.get(refOf(needed)) !== needed.tree);
  const commits = await unreachable(folder, gitDir, o.commits);
  const missing = await absent(folder, gitDir, [
    ...trees.map(({ tree }) => tree),
    ...o.commits.map(({ commit }) => commit),
  ]);
  const lost = new Set(missing);
  let restoredRefs = 0;
  for (const needed of trees.filter(({ tree }) => !lost.has(tree))) {
    const commit = await commitTree(folder, {
      applicationId: o.applicationId,
      tree: needed.tree,
      parent: null,
      message: '',
      author: { name: 'Muster', email: 'muster@localhost' },
      date: new Date(0),
    });
    await changeRefs(folder.git, gitDir, [{ name: refOf(needed), id: commit }]);
    restoredRefs += 1;
  }
  for (const needed of commits) {
    await keepHead(folder, { applicationId: o.applicationId, ...needed });
    restoredRefs += 1;
  }
  return { restoredRefs, missing };
}

/** Those of the commits that are there and that no ref contains. */
async function unreachable(
  folder: DepotFolder,
  gitDir: string,
  commits: readonly NeededCommit[],
): Promise<NeededCommit[]> {
  if (commits.length === 0) return [];
  const output = streamGit(folder.git, {
    gitDir,
    args: ['rev-list', '--ignore-missing', '--stdin', '--not', '--all'],
    input: commits.map(({ commit }) => `${assertObjectId(commit)}\n`).join(''),
  });
  const found = new Set<string>();
  for await (const id of splitRecords(output, LINE_FEED)) found.add(id);
  return commits.filter(({ commit }) => found.has(commit));
}

/** Those of the objects that the repository does not have. */
async function absent(
  folder: DepotFolder,
  gitDir: string,
  ids: readonly string[],
): Promise<string[]> {
  const unique = [...new Set(ids)];
  if (unique.length === 0) return [];
  const output = streamGit(folder.git, {
    gitDir,
    args: ['cat-file', '--batch-check'],
    input: unique.map((id) => `${assertObjectId(id)}\n`).join(''),
  });
  const gone: string[] = [];
  for await (const line of splitRecords(output, LINE_FEED)) {
    if (line.endsWith(' missing')) gone.push(line.slice(0, 40));
  }
  return gone;
}

/** One thread and small windows: this is nobody's first concern, and a build may be ingested beside it. */
async function packAnew(
  folder: DepotFolder,
  o: MaintainOptions & { readonly gitDir: string; readonly quarantine: string },
): Promise<void> {
  const objects = join(o.quarantine, 'objects');
  await runGit(folder.git, {
    gitDir: o.gitDir,
    // What git writes goes to the quarantine; the repository's own objects are its alternates.
    env: { GIT_OBJECT_DIRECTORY: objects },
    config: ['pack.threads=1', 'pack.windowMemory=64m', 'pack.deltaCacheSize=64m'],
    args: [
      'pack-objects',
      ...['--all', '--revs', '--quiet', '--non-empty', '--delta-base-offset'],
      ...['--window=10', '--depth=20'],
      join(objects, 'pack', 'pack'),
    ],
    input: '',
    signal: o.signal,
    timeoutMs: PACK_TIMEOUT_MS,
  });
}

/**
 * Whether everything that refs keep alive would be there without some of the packs: looked for in a place where they
 * are not. An ingest that came in between may have found a part of its build in one of them.
 */
async function isCompleteWithout(
  folder: DepotFolder,
  o: MaintainOptions & { readonly gitDir: string; readonly leaving: ReadonlySet<string> },
): Promise<boolean> {
  return await withTemporary(folder, 'check', async (path) => {
    try {
      await mkdir(join(path, 'pack'), { recursive: true });
      const objects = join(o.gitDir, 'objects');
      const loose = (await readdir(objects)).filter((name) => /^[0-9a-f]{2}$/.test(name));
      for (const name of loose) await symlink(join(objects, name), join(path, name));
      for (const { name } of await listPacks(o.gitDir)) {
        if (o.leaving.has(name)) continue;
        for (const file of [`${name}.pack`, `${name}.idx`]) {
          await symlink(join(objects, 'pack', file), join(path, 'pack', file));
        }
      }
    } catch (error) {
      throw storageError(error);
    }
    try {
      await runGit(folder.git, {
        gitDir: o.gitDir,
        env: { GIT_OBJECT_DIRECTORY: path },
        args: ['rev-list', '--objects', '--all', '--quiet'],
        signal: o.signal,
        timeoutMs: PACK_TIMEOUT_MS,
      });
      return true;
    } catch (error) {
      if (o.signal?.aborted === true) throw error;
      return false;
    }
  });
}

/** @returns false if it was stopped before the end; what is left is as good as before */
async function removePacks(
  gitDir: string,
  packs: readonly Pack[],
  isStillQuiet: () => Promise<boolean>,
): Promise<boolean> {
  for (const { name } of packs) {
    if (!(await isStillQuiet())) return false;
    // Git sees a pack by its index, so that goes first.
    for (const ending of ['idx', 'rev', 'bitmap', 'pack']) {
      await unlink(join(gitDir, 'objects', 'pack', `${name}.${ending}`)).catch(() => {});
    }
  }
  return true;
}

/** Loose objects are what commits and fetches left: those in the new pack are there twice, others may be garbage. */
async function pruneLoose(
  folder: DepotFolder,
  o: MaintainOptions & { readonly gitDir: string },
): Promise<void> {
  const expiry = `${Math.ceil(o.graceMs / 1000)}.seconds.ago`;
  const { gitDir, signal } = o;
  await runGit(folder.git, { gitDir, args: ['prune-packed', '--quiet'], signal });
  await runGit(folder.git, { gitDir, args: ['prune', `--expire=${expiry}`, '--'], signal });
}

const LINE_FEED = 0x0a;

interface Pack {
  /** Without its ending. */
  readonly name: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** The packs that git sees and may replace. */
async function listPacks(gitDir: string): Promise<Pack[]> {
  const directory = join(gitDir, 'objects', 'pack');
  try {
    const names = await readdir(directory);
    const packs: Pack[] = [];
    for (const index of names.filter((each) => /^pack-[0-9a-f]{40}\.idx$/.test(each))) {
      const name = index.slice(0, -'.idx'.length);
      if (names.includes(`${name}.keep`)) continue;
      const { size, mtimeMs } = await stat(join(directory, `${name}.pack`));
      packs.push({ name, bytes: size, modifiedMs: mtimeMs });
    }
    return packs;
  } catch (error) {
    throw storageError(error);
  }
}

function sumBytes(packs: readonly Pack[]): number {
  return packs.reduce((sum, { bytes }) => sum + bytes, 0);
}

async function ageMs(path: string): Promise<number> {
  const found = await stat(path).catch(() => null);
  return found === null ? Number.POSITIVE_INFINITY : Date.now() - found.mtimeMs;
}

async function touch(path: string): Promise<void> {
  const now = new Date();
  try {
    await writeFile(path, '', { flag: 'a' });
    await utimes(path, now, now);
  } catch (error) {
    throw storageError(error);
  }
}
