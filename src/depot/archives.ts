import type { Stats } from 'node:fs';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Archiver, type EntryData, TarArchive, ZipArchive } from 'archiver';
import { quoteName } from '../domain/archive-entry.ts';
import { AppError } from '../domain/errors.ts';
import { type BlobReader, openBlobReader } from './blobs.ts';
import type { DepotFolder } from './repository.ts';
import { listFiles, type TreeFile } from './trees.ts';

/** The kinds of archive a package can be downloaded as. */
export type DownloadType = 'zip' | 'tar.gz';

export interface WriteArchiveOptions {
  readonly applicationId: string;
  readonly tree: string;
  readonly fileType: DownloadType;
  /** The time that every entry gets, so that the same package always gives the same bytes. */
  readonly rootTime: Date;
  readonly signal?: AbortSignal | undefined;
}

const MAX_TARGET_BYTES = 4096;
const MAX_WHOLE_BYTES = 256 * 1024;
/** Zip without its 64-bit extension ends here; a little before, because headers count. */
const ZIP32_MAX_BYTES = 4_000_000_000;
const ZIP32_MAX_FILES = 65_000;

/**
 * Makes an archive of a tree as it is read: modes and links kept, the same bytes each time, memory bounded.
 * Destroying the stream ends the work.
 * @returns once it is known that the archive can be made; what fails later is the stream's `error`
 * @throws {AppError} `invalid_input` if a zip cannot hold one of the names, `storage_failed`
 */
export async function writeArchive(folder: DepotFolder, o: WriteArchiveOptions): Promise<Readable> {
  const archive = await openArchive(folder, o);
  const output = new PassThrough();
  const abort = new AbortController();
  const { signal } = abort;
  const fail = (error: unknown): void => {
    output.destroy(error instanceof Error ? error : new Error(String(error)));
  };
  output.once('close', () => abort.abort());
  o.signal?.addEventListener('abort', () => fail(o.signal?.reason), { once: true, signal });
  if (o.signal?.aborted === true) fail(o.signal.reason);
  // Archiver does not pass errors on from one of its streams to the next, so each is heard here.
  archive.on('error', fail);
  archive.on('warning', fail);
  pipeline(archive, output).catch(fail);
  fill(folder, { ...o, signal, archive }).catch(fail);
  return output;
}

async function fill(
  folder: DepotFolder,
  o: WriteArchiveOptions & { readonly signal: AbortSignal; readonly archive: Archiver },
): Promise<void> {
  const blobs = openBlobReader(folder, o.applicationId, o.signal);
  try {
    for await (const file of listFiles(folder, o.applicationId, o.tree, o.signal)) {
      await addFile(file, { ...o, blobs });
    }
    await o.archive.finalize();
  } finally {
    await blobs.close();
  }
}

/** Reads the names before the first byte is sent: afterwards an error could only break the download off. */
async function openArchive(folder: DepotFolder, o: WriteArchiveOptions): Promise<Archiver> {
  let files = 0;
  let bytes = 0;
  for await (const { path, bytes: size } of listFiles(folder, o.applicationId, o.tree, o.signal)) {
    files += 1;
    bytes += size;
    if (o.fileType === 'zip' && isRewritten(path)) {
      throw new AppError(
        'invalid_input',
        `A zip cannot hold the name ${quoteName(path)}; download the package as tar.gz.`,
        { details: { path } },
      );
    }
  }
  if (o.fileType === 'tar.gz') return new TarArchive({ gzip: true });
  return new ZipArchive({ forceZip64: bytes > ZIP32_MAX_BYTES || files > ZIP32_MAX_FILES });
}

async function addFile(
  file: TreeFile,
  o: {
    readonly archive: Archiver;
    readonly blobs: BlobReader;
    readonly rootTime: Date;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const append = (source: Buffer | Readable, data: EntryData): Promise<void> =>
    appendEntry({ ...o, source, data });
  const entry = {
    name: file.path,
    date: o.rootTime,
    // Where archiver would change the name, pax has the last word. Zips never come here with such a name.
    ...(isRewritten(file.path) ? { pax: { path: file.path } } : {}),
  };
  if (file.mode === '120000') {
    const linkname = (await o.blobs.readWhole(file.blob, MAX_TARGET_BYTES)).toString('utf8');
    const link = { ...entry, type: 'symlink' as const, mode: 0o777, linkname };
    await append(Buffer.alloc(0), link);
    return;
  }
  const mode = file.mode === '100755' ? 0o755 : 0o644;
  if (file.bytes <= MAX_WHOLE_BYTES) {
    // Most files are small, and streams cost more than they do.
    await append(await o.blobs.readWhole(file.blob, MAX_WHOLE_BYTES), { ...entry, mode });
    return;
  }
  // Archiver asks for nothing but the size here; without it, it would gather the whole content first.
  const stats = { size: file.bytes } as Stats;
  const body = new PassThrough();
  await Promise.all([
    append(body, { ...entry, mode, stats }),
    pipeline(o.blobs.read(file.blob), body, { signal: o.signal }),
  ]);
}

/** Resolves when the entry is written: one at a time, because archiver queues without a bound. */
function appendEntry(o: {
  readonly archive: Archiver;
  readonly signal: AbortSignal;
  readonly source: Buffer | Readable;
  readonly data: EntryData;
}): Promise<void> {
  const { archive, signal } = o;
  return new Promise((resolve, reject) => {
    const onEntry = (): void => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    const onAbort = (): void => {
      archive.removeListener('entry', onEntry);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    archive.once('entry', onEntry);
    if (signal.aborted) onAbort();
    else archive.append(o.source, o.data);
  });
}

/** Archiver takes a backslash for a separator and what stands before a colon for a drive. */
function isRewritten(path: string): boolean {
  return path.includes('\\') || /^\w+:/.test(path);
}
