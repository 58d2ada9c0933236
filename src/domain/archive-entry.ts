import { counted } from './counted.ts';
import { AppError } from './errors.ts';

/** The kinds of archive a build may be uploaded as. Source: API.md "Builds". */
export const ARCHIVE_TYPES = ['zip', 'tar.gz', 'tar.bz2'] as const;

export type ArchiveType = (typeof ARCHIVE_TYPES)[number];

/** What the first bytes of a file tell about it. */
export type ArchiveMagic = 'zip' | 'gzip' | 'bzip2';

/** How many leading bytes `archiveTypeOf` wants to see. */
export const ARCHIVE_MAGIC_BYTES = 4;

/** What one archive may cost. Going over any of them is `archive_too_large`. */
export interface ArchiveLimits {
  /** Files, directories and links together. */
  readonly maxEntries: number;
  /** Bytes that come out of the decompression; the headers of a tar count too. */
  readonly maxUnpackedBytes: number;
  /** Unpacked bytes per byte of the archive, asked once `RATIO_APPLIES_ABOVE_BYTES` have come out. */
  readonly maxRatio: number;
}

export const DEFAULT_ARCHIVE_LIMITS: ArchiveLimits = {
  maxEntries: 1_000_000,
  maxUnpackedBytes: 50 * 1024 ** 3,
  maxRatio: 1000,
};

/** A small archive of zeros is no bomb: below this the ratio is not looked at. */
export const RATIO_APPLIES_ABOVE_BYTES = 64 * 1024 ** 2;

/** PATH_MAX and NAME_MAX of Linux, in bytes: a longer name could be stored but never checked out. */
const MAX_PATH_BYTES = 4096;
const MAX_COMPONENT_BYTES = 255;

/** What the bytes of each type of archive begin as. */
export const MAGIC_OF_TYPE = {
  zip: 'zip',
  'tar.gz': 'gzip',
  'tar.bz2': 'bzip2',
} as const satisfies Record<ArchiveType, ArchiveMagic>;

/** Tells the kind of a file by its first bytes (at least `ARCHIVE_MAGIC_BYTES`), or null if it is none of ours. */
export function archiveTypeOf(firstBytes: Uint8Array): ArchiveMagic | null {
  const [a = 0, b = 0, c = 0, d = 0] = firstBytes;
  if (a === 0x50 && b === 0x4b) {
    // Local header, end of an empty archive, or the mark of a split archive.
    const isZip = (c === 3 && d === 4) || (c === 5 && d === 6) || (c === 7 && d === 8);
    return isZip ? 'zip' : null;
  }
  if (a === 0x1f && b === 0x8b) return 'gzip';
  // "BZh" and the block size, "1" to "9".
  if (a === 0x42 && b === 0x5a && c === 0x68 && d >= 0x31 && d <= 0x39) return 'bzip2';
  return null;
}

/**
 * Holds an upload to the type it was announced as.
 * @param firstBytes the beginning of the file; fewer than `ARCHIVE_MAGIC_BYTES` means that the file is no longer
 * @throws {AppError} `archive_broken` if the file is too short to be anything, `archive_wrong_type` if it is something else
 */
export function assertArchiveType(firstBytes: Uint8Array, fileType: ArchiveType): void {
  if (firstBytes.length < ARCHIVE_MAGIC_BYTES) {
    throw brokenArchive(`it is only ${counted(firstBytes.length, 'byte')} long`);
  }
  const magic = archiveTypeOf(firstBytes);
  if (magic === MAGIC_OF_TYPE[fileType]) return;
  const found = magic === null ? 'neither a zip, a gzip nor a bzip2 file' : `a ${magic} file`;
  throw new AppError(
    'archive_wrong_type',
    `The upload was announced as ${fileType} but is ${found}; set file_type to what it is.`,
    { details: { file_type: fileType, found: magic } },
  );
}

/** An `archive_broken` error. @param why half a sentence that follows "the archive cannot be read:" */
export function brokenArchive(why: string, cause?: unknown): AppError {
  return new AppError(
    'archive_broken',
    `The archive cannot be read: ${why}. Make it anew and upload it again.`,
    { details: { reason: why }, cause },
  );
}

/** An `archive_unsafe` error that names the entry. @param why half a sentence whose subject is the entry */
export function unsafeEntry(name: string, why: string): AppError {
  return new AppError(
    'archive_unsafe',
    `The archive entry ${quoteName(name)} is refused because it ${why}; leave it out and upload again.`,
    { details: { entry: name, reason: why } },
  );
}

/** A name as it can stand in a message: quoted, control characters escaped, cut at 200 characters. */
export function quoteName(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

/**
 * Brings the name of an archive entry into the form git stores (`./a//b/` → `a/b`).
 * @returns the path from the build's root, or '' for the root itself
 * @throws {AppError} `archive_unsafe` as `unsafePathReason` says
 */
export function normalizeEntryName(name: string): string {
  const reason = unsafePathReason(name);
  if (reason !== null) throw unsafeEntry(name, reason);
  return normalizePath(name);
}

/** Drops empty and `.` components. Only for names of which `unsafePathReason` is null. */
export function normalizePath(name: string): string {
  // Most names are clean already, and a build may have a million of them.
  if (!/(?:^|\/)\.?(?:\/|$)/.test(name)) return name;
  return name
    .split('/')
    .filter((component) => component !== '' && component !== '.')
    .join('/');
}

/**
 * Why a path may not stand in a tree that is checked out on servers, as half a sentence whose subject is the path;
 * null if it may. A backslash is an ordinary character, unless a reader that takes it for a separator would be led astray.
 * Source: DESIGN.md "Safety"; git's verify_path().
 */
export function unsafePathReason(path: string): string | null {
  if (path.includes('\0')) return 'has a NUL byte in its name';
  if (/\p{Surrogate}/u.test(path)) return 'has a name that is not valid Unicode';
  if (ABSOLUTE_NAME.test(path)) return 'has an absolute name';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `has a name over ${MAX_PATH_BYTES} bytes`;
  for (const component of path.split('/')) {
    if (Buffer.byteLength(component) > MAX_COMPONENT_BYTES) {
      return `has a part of its name over ${MAX_COMPONENT_BYTES} bytes`;
    }
  }
  return unsafeComponentReason(path);
}

/**
 * Why a symbolic link may not be stored, as half a sentence whose subject is the link; null if it may.
 *
 * `..` is allowed only at the beginning of the target. Nothing is ever stored below a link, so the folder of a link is
 * a real one and leading `..` mean what they say; a later `..` may follow another link and leave the tree although the
 * letters of the target do not: with `p/q/up → ../..`, the target `p/q/up/../x` is a file beside the tree.
 * @param path the normalized path of the link @param target what it points to, as in the archive
 */
export function unsafeLinkReason(path: string, target: string): string | null {
  if (target === '') return 'is a link to nothing';
  if (target.includes('\0')) return 'is a link with a NUL byte in its target';
  if (/\p{Surrogate}/u.test(target)) return 'is a link whose target is not valid Unicode';
  if (Buffer.byteLength(target) >= MAX_PATH_BYTES) return 'is a link with an overlong target';
  if (ABSOLUTE_NAME.test(target)) return 'is a link to an absolute path';
  let depth = path.split('/').length - 1;
  let wentDown = false;
  for (const component of target.split(/[/\\]/)) {
    if (component === '' || component === '.') continue;
    if (component !== '..') {
      wentDown = true;
    } else if (wentDown) {
      return 'is a link with ".." after a folder in its target';
    } else if (depth === 0) {
      return 'is a link that leaves the build';
    } else {
      depth -= 1;
    }
  }
  return gitNameReason(target) === null ? null : "is a link into git's own files";
}

function unsafeComponentReason(path: string): string | null {
  if (/(?:^|[/\\])\.\.(?:[/\\]|$)/.test(path)) return 'has ".." in its name';
  return gitNameReason(path);
}

/** Here or on Windows; `./` before it falls away when the name is normalized. */
const ABSOLUTE_NAME = /^\/|^(?:\.\/+)*(?:\\|[A-Za-z]:[/\\])/;

/** The first look is cheap: whatever hides `.git` or `.gitmodules` has one of these in it. */
const MAYBE_GIT_NAME = /~|git|[^ -~]/i;

/** Characters that HFS+ leaves out when it compares names. Source: git's utf8.c next_hfs_char(). */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/gu;

/** NTFS short names of `.gitmodules`. Source: git's path.c is_ntfs_dot_generic(). */
const GITMODULES_SHORT_NAME =
  /^gitmod~[1-4]$|^(?=.{8}$)(?:g(?:i(?:7(?:e(?:ba?)?)?)?)?)?~[1-9][0-9]*$/;

function gitNameReason(path: string): string | null {
  if (!MAYBE_GIT_NAME.test(path)) return null;
  for (const component of path.split(/[/\\]/)) {
    // As a case-insensitive file system sees it: HFS+ skips some characters, NTFS drops what follows a colon
    // (a stream of the file) and trailing dots and spaces.
    const seen = component
      .replace(HFS_IGNORED, '')
      .toLowerCase()
      .replace(/:.*$/s, '')
      .replace(/[. ]+$/, '');
    if (seen === '.git' || seen === 'git~1') return 'has ".git" in its name, which is git\'s own';
    if (seen === '.gitmodules' || GITMODULES_SHORT_NAME.test(seen)) {
      return 'is named ".gitmodules", by which git would fetch foreign code';
    }
  }
  return null;
}
