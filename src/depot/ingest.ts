import {
  type ArchiveLimits,
  type ArchiveType,
  brokenArchive,
  DEFAULT_ARCHIVE_LIMITS,
  normalizeEntryName,
  quoteName,
  unsafeEntry,
  unsafeLinkReason,
} from '../domain/archive-entry.ts';
import { type FastImport, openFastImport } from './fast-import.ts';
import { type Inventory, openInventory } from './inventory.ts';
import { publishQuarantine, withQuarantine } from './quarantine.ts';
import type { ArchiveEntry } from './readers/archive-entry.ts';
import { probeArchive, readArchive } from './readers/archive-reader.ts';
import { buildRef, buildRefPrefix } from './refs.ts';
import type { DepotFolder } from './repository.ts';
import { treeOf } from './trees.ts';
import { openUnpackBudget, type UnpackBudget } from './unpack-budget.ts';

export interface IngestOptions {
  readonly applicationId: string;
  readonly buildId: string;
  /** The upload, complete and checked against its checksum. It is only read. */
  readonly archivePath: string;
  readonly fileType: ArchiveType;
  readonly limits?: Partial<ArchiveLimits>;
  readonly signal?: AbortSignal | undefined;
  /** Told now and then, and once at the end. */
  readonly onProgress?: (progress: IngestProgress) => void;
}

export interface IngestProgress {
  readonly files: number;
  readonly bytes: number;
}

export interface IngestedBuild extends IngestProgress {
  /** The id of the git tree that is the build. */
  readonly tree: string;
  /** Folders that were empty in the archive and that a build cannot hold; the first hundred. */
  readonly emptyDirectories: string[];
  /** Groups of names that differ only in case; the first hundred. */
  readonly caseCollisions: string[][];
}

/** An archive of 50 GiB on a slow disk takes hours; a fast-import that hangs must still end. */
const IMPORT_TIMEOUT_MS = 12 * 3600 * 1000;
const MAX_REPORTED = 100;
const PROGRESS_EVERY_FILES = 500;
const PROGRESS_EVERY_BYTES = 32 * 1024 ** 2;

/**
 * Streams an archive entry by entry into the application's repository. Memory does not grow with the size of the files.
 *
 * Of two entries with one name the later wins, as in unpacking. A file in the place of a folder or the other way round is
 * `archive_broken`. Hard links become copies. Whatever goes wrong, the repository is as it was. Doing it again gives the same tree.
 * @throws {AppError} `archive_broken`, `archive_wrong_type`, `archive_unsafe`, `archive_too_large`, `storage_failed`
 */
export async function ingestBuild(folder: DepotFolder, o: IngestOptions): Promise<IngestedBuild> {
  const limits = { ...DEFAULT_ARCHIVE_LIMITS, ...o.limits };
  const archiveBytes = await probeArchive(o.archivePath, o.fileType);
  const budget = openUnpackBudget({ archiveBytes, limits, signal: o.signal });
  const inventory = openInventory();
  try {
    const tree = await withQuarantine(folder, o.applicationId, async (gitDir) => {
      await importEntries(folder, { ...o, gitDir, budget, inventory });
      await publishQuarantine(folder, { ...o, gitDir, refPrefix: buildRefPrefix(o.buildId) });
      return await treeOf(folder, o.applicationId, buildRef(o.buildId));
    });
    o.onProgress?.(inventory.totals());
    return {
      tree,
      ...inventory.totals(),
      emptyDirectories: inventory.emptyFolders(MAX_REPORTED),
      caseCollisions: inventory.caseCollisions(MAX_REPORTED),
    };
  } catch (error) {
    // The signal is felt in many places, and not all of them tell it by its own reason.
    if (o.signal?.aborted === true) throw o.signal.reason;
    throw error;
  }
}

interface ImportOptions extends IngestOptions {
  readonly gitDir: string;
  readonly budget: UnpackBudget;
  readonly inventory: Inventory;
}

async function importEntries(folder: DepotFolder, o: ImportOptions): Promise<void> {
  const { budget, inventory, signal } = o;
  const target = openFastImport(folder.git, {
    gitDir: o.gitDir,
    signal,
    timeoutMs: IMPORT_TIMEOUT_MS,
  });
  const report = progressReporter(o);
  try {
    await target.beginTree(buildRef(o.buildId));
    for await (const entry of readArchive({ path: o.archivePath, fileType: o.fileType, budget })) {
      budget.spendEntry();
      await importEntry(entry, { target, inventory, budget });
      report(inventory.totals());
    }
    if (inventory.totals().files === 0) throw brokenArchive('there is no file in it');
    await target.finish();
  } finally {
    await target.close();
  }
}

/**
 * Brings one entry into the tree, or refuses it.
 * @throws {AppError} `archive_broken`, `archive_unsafe`, `archive_too_large`, and what the target throws
 */
export async function importEntry(
  entry: ArchiveEntry,
  o: {
    readonly target: Pick<FastImport, 'addFile' | 'copyFile'>;
    readonly inventory: Inventory;
    readonly budget: UnpackBudget;
  },
): Promise<void> {
  const path = normalizeEntryName(entry.name);
  if (entry.kind === 'folder') {
    // The root itself is an entry in most tars.
    if (path !== '') o.inventory.addFolder(path);
    return;
  }
  if (path === '') throw unsafeEntry(entry.name, 'would stand in the place of the build itself');
  switch (entry.kind) {
    case 'file': {
      o.inventory.addFile(path, entry.sizeBytes);
      const mode = entry.isExecutable ? '100755' : '100644';
      await o.target.addFile({ path, mode, sizeBytes: entry.sizeBytes, content: entry.content() });
      return;
    }
    case 'symlink': {
      const reason = unsafeLinkReason(path, entry.target);
      if (reason !== null) throw unsafeEntry(entry.name, reason);
      const target = Buffer.from(entry.target);
      o.inventory.addLink(path, target.length);
      await o.target.addFile({
        path,
        mode: '120000',
        sizeBytes: target.length,
        content: [target],
      });
      return;
    }
    case 'hardlink':
      await importHardLink(entry, path, o);
      return;
    case 'unsupported':
      throw unsafeEntry(entry.name, `is ${entry.what}`);
    default:
      return entry satisfies never;
  }
}

/** A copy, as a build has no hard links. It counts like the file itself: a thousand links to a large file are a large build. */
async function importHardLink(
  entry: { readonly name: string; readonly target: string },
  path: string,
  o: {
    readonly target: Pick<FastImport, 'copyFile'>;
    readonly inventory: Inventory;
    readonly budget: UnpackBudget;
  },
): Promise<void> {
  const from = normalizeEntryName(entry.target);
  const sizeBytes = o.inventory.fileSize(from);
  if (sizeBytes === null) {
    throw brokenArchive(
      `${quoteName(entry.name)} is a hard link to ${quoteName(entry.target)}, which is no file before it`,
    );
  }
  // GNU tar writes a file that is named twice as a link to itself.
  if (from === path) return;
  o.budget.spendBytes(sizeBytes);
  o.inventory.addFile(path, sizeBytes);
  await o.target.copyFile(from, path);
}

function progressReporter(o: ImportOptions): (progress: IngestProgress) => void {
  let last: IngestProgress = { files: 0, bytes: 0 };
  return (progress) => {
    const isDue =
      progress.files - last.files >= PROGRESS_EVERY_FILES ||
      progress.bytes - last.bytes >= PROGRESS_EVERY_BYTES;
    if (!isDue) return;
    last = progress;
    o.onProgress?.(progress);
  };
}
