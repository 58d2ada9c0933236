import { once } from 'node:events';
import { crc32 } from 'node:zlib';
import { type Entry, openPromise, type ZipFile } from 'yauzl';
import { brokenArchive, quoteName, unsafeEntry } from '../../domain/archive-entry.ts';
import type { UnpackBudget } from '../unpack-budget.ts';
import type { ArchiveEntry } from './archive-entry.ts';
import { decodeName } from './strict-text.ts';

/** Hosts in "version made by" whose external attributes hold a Unix mode. Source: APPNOTE.TXT 4.4.2. */
const UNIX_HOSTS: readonly number[] = [3, 19];
const DOS_HOST = 0;
const UNICODE_PATH_FIELD = 0x7075;

const FILE_TYPE_MASK = 0o170000;
const FILE_TYPES: ReadonlyMap<number, string> = new Map([
  [0o010000, 'a FIFO'],
  [0o020000, 'a device'],
  [0o060000, 'a device'],
  [0o140000, 'a socket'],
]);
const FOLDER_TYPE = 0o040000;
const SYMLINK_TYPE = 0o120000;
/** PATH_MAX of Linux; the policy says the same of a target, but this one is held in memory before it is asked. */
const MAX_TARGET_BYTES = 4096;

/**
 * Reads a zip by its central directory, which alone says what is in it. Sizes are checked by yauzl, checksums here.
 * @throws {AppError} `archive_broken`, `archive_unsafe` (encrypted entries), what the budget throws; other errors are yauzl's
 */
export async function* readZip(path: string, budget: UnpackBudget): AsyncGenerator<ArchiveEntry> {
  // Names are decoded here: yauzl would turn backslashes into slashes and guess a code page.
  const zip = await openPromise(path, { autoClose: false, decodeStrings: false });
  // Errors reach us where we wait; one that comes in between must not end the process.
  zip.on('error', () => {});
  try {
    for (;;) {
      const entry = await nextEntry(zip);
      if (entry === null) return;
      yield await describe(zip, entry, budget);
    }
  } finally {
    zip.close();
  }
}

async function nextEntry(zip: ZipFile): Promise<Entry | null> {
  if (zip.entriesRead === zip.entryCount) return null;
  // `once` rejects when an error comes first.
  const arrival = once(zip, 'entry');
  zip.readEntry();
  const [entry]: Entry[] = await arrival;
  return entry ?? null;
}

async function describe(zip: ZipFile, entry: Entry, budget: UnpackBudget): Promise<ArchiveEntry> {
  const name = nameOf(entry);
  if (entry.isEncrypted()) throw unsafeEntry(name, 'is encrypted');
  const mode = modeOf(entry);
  const type = mode & FILE_TYPE_MASK;
  if (name.endsWith('/') || type === FOLDER_TYPE) return { kind: 'folder', name };
  const what = FILE_TYPES.get(type);
  if (what !== undefined) return { kind: 'unsupported', name, what };
  if (!entry.canDecodeFileData()) {
    throw brokenArchive(`${quoteName(name)} is compressed by a method other than deflate`);
  }
  if (type === SYMLINK_TYPE) {
    if (entry.uncompressedSize > MAX_TARGET_BYTES)
      throw unsafeEntry(name, 'is a link with an overlong target');
    const chunks: Buffer[] = [];
    for await (const chunk of readContent({ zip, entry, name, budget })) chunks.push(chunk);
    return { kind: 'symlink', name, target: decodeName(Buffer.concat(chunks)) };
  }
  return {
    kind: 'file',
    name,
    sizeBytes: entry.uncompressedSize,
    isExecutable: (mode & 0o100) !== 0,
    content: () => readContent({ zip, entry, name, budget }),
  };
}

async function* readContent(o: {
  readonly zip: ZipFile;
  readonly entry: Entry;
  readonly name: string;
  readonly budget: UnpackBudget;
}): AsyncGenerator<Buffer> {
  let checksum = 0;
  const content: AsyncIterable<Buffer> = await o.zip.openReadStreamPromise(o.entry);
  for await (const chunk of content) {
    o.budget.spendBytes(chunk.length);
    checksum = crc32(chunk, checksum);
    yield chunk;
  }
  if (checksum !== o.entry.crc32)
    throw brokenArchive(`the checksum of ${quoteName(o.name)} is wrong`);
}

function nameOf(entry: Entry): string {
  const name = decodeName(unicodePathOf(entry) ?? entry.fileNameRaw);
  // Old .NET writes `bin\app.dll`; DOS knows no other separator, so there it cannot be part of a name.
  const isDosName = hostOf(entry) === DOS_HOST && !name.includes('/');
  return isDosName ? name.replaceAll('\\', '/') : name;
}

/** Info-ZIP's UTF-8 name beside one in a code page; it counts only while it belongs to that one. Source: APPNOTE.TXT 4.6.9. */
function unicodePathOf(entry: Entry): Buffer | null {
  const field = entry.extraFields.find(({ id }) => id === UNICODE_PATH_FIELD)?.data;
  if (field === undefined || field.length < 6 || field[0] !== 1) return null;
  return field.readUInt32LE(1) === crc32(entry.fileNameRaw) ? field.subarray(5) : null;
}

function modeOf(entry: Entry): number {
  return UNIX_HOSTS.includes(hostOf(entry)) ? entry.externalFileAttributes >>> 16 : 0;
}

function hostOf(entry: Entry): number {
  return entry.versionMadeBy >>> 8;
}
