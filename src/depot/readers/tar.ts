import { Header } from 'tar';
import { brokenArchive, quoteName } from '../../domain/archive-entry.ts';
import { type ByteReader, openByteReader, TruncatedError } from '../byte-reader.ts';
import type { ArchiveEntry } from './archive-entry.ts';
import { applyPaxRecords, EMPTY_EXTENSION, type Extension } from './pax.ts';
import { decodeName, untilNul } from './strict-text.ts';

const BLOCK_BYTES = 512;
/** Of a pax header or a long name: far above any path, far below what hurts. */
const MAX_EXTENSION_BYTES = 1024 ** 2;

/**
 * Reads a tar: ustar, GNU long names, pax.
 *
 * The header's numbers and checksum are left to `tar`. Its streaming `Parser` is not used, because it silently falls
 * back to the shortened name when a pax path has a line feed in it or a long one falls on the border of two chunks,
 * silently leaves out what it does not know (sparse files, for one), and pushes instead of being pulled.
 * @throws {AppError} `archive_broken`, `archive_unsafe`; other errors are those of the source
 */
export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<ArchiveEntry> {
  const bytes = openByteReader(source);
  try {
    let extension: Extension = EMPTY_EXTENSION;
    for (;;) {
      const block = await bytes.read(BLOCK_BYTES);
      if (block === null) throw brokenArchive('it ends without the mark that ends a tar');
      if (isZero(block)) break;
      const header = decodeHeader(block);
      const letter = String.fromCharCode(block[156] ?? 0);
      if (isExtension(letter)) {
        extension = await readExtension(bytes, letter, header, extension);
        continue;
      }
      const name = extension.path ?? nameOf(block);
      const target = extension.linkPath ?? decodeName(untilNul(block.subarray(157, 257)));
      const sizeBytes = extension.sizeBytes ?? header.size ?? -1;
      extension = EMPTY_EXTENSION;
      if (sizeBytes < 0) throw brokenArchive(`the size of ${quoteName(name)} makes no sense`);
      yield* readMember(bytes, { letter, name, target, sizeBytes, mode: header.mode ?? 0 });
    }
    // To the end, because the checksum of the compression stands there.
    await bytes.drain();
  } finally {
    await bytes.close();
  }
}

interface Member {
  readonly letter: string;
  readonly name: string;
  readonly target: string;
  readonly sizeBytes: number;
  readonly mode: number;
}

async function* readMember(bytes: ByteReader, member: Member): AsyncGenerator<ArchiveEntry> {
  const { letter, name, target, sizeBytes } = member;
  switch (letter) {
    case '\0':
    case '0':
    case '7':
      if (name.endsWith('/')) {
        // So wrote folders before there was a letter for them.
        yield { kind: 'folder', name };
        await skipBody(bytes, sizeBytes);
      } else {
        yield* readFile(bytes, member);
      }
      return;
    case '1':
      // The size is that of the file linked to; there is no content. So do GNU tar and Go.
      yield { kind: 'hardlink', name, target };
      return;
    case '2':
      if (sizeBytes !== 0) throw brokenArchive(`the link ${quoteName(name)} has content`);
      yield { kind: 'symlink', name, target };
      return;
    case '5':
      // Some give the size of the folder on their disk; there is no content.
      yield { kind: 'folder', name };
      return;
    case 'V':
      // The label of the archive, no member.
      await skipBody(bytes, sizeBytes);
      return;
    default:
      yield { kind: 'unsupported', name, what: unsupported(letter) };
      await skipBody(bytes, sizeBytes);
  }
}

async function* readFile(bytes: ByteReader, member: Member): AsyncGenerator<ArchiveEntry> {
  const { name, sizeBytes, mode } = member;
  let unread = sizeBytes;
  async function* content(): AsyncGenerator<Buffer> {
    for await (const chunk of bytes.stream(sizeBytes)) {
      unread -= chunk.length;
      yield chunk;
    }
  }
  yield { kind: 'file', name, sizeBytes, isExecutable: (mode & 0o100) !== 0, content };
  await bytes.skip(unread + paddingOf(sizeBytes));
}

function decodeHeader(block: Buffer): Header {
  let header: Header | null = null;
  let cause: unknown;
  try {
    header = new Header(block);
  } catch (error) {
    // A number that is none.
    cause = error;
  }
  if (header?.cksumValid === true) return header;
  throw brokenArchive('a header in it is damaged, or it holds no tar', cause);
}

function isExtension(letter: string): boolean {
  return letter === 'x' || letter === 'g' || letter === 'L' || letter === 'K';
}

async function readExtension(
  bytes: ByteReader,
  letter: string,
  header: Header,
  before: Extension,
): Promise<Extension> {
  const sizeBytes = header.size ?? -1;
  if (sizeBytes < 0 || sizeBytes > MAX_EXTENSION_BYTES) {
    throw brokenArchive('a header in it is longer than any name can be');
  }
  const body = sizeBytes === 0 ? Buffer.alloc(0) : await bytes.read(sizeBytes);
  if (body === null) throw new TruncatedError();
  await bytes.skip(paddingOf(sizeBytes));
  switch (letter) {
    case 'L':
      return { ...before, path: decodeName(untilNul(body)) };
    case 'K':
      return { ...before, linkPath: decodeName(untilNul(body)) };
    case 'x':
      return applyPaxRecords(before, body);
    default:
      // Global records are comments, such as git's commit id. They are read so that damage in them shows.
      applyPaxRecords(EMPTY_EXTENSION, body);
      return before;
  }
}

/** The name in the header itself: 100 bytes, and in ustar up to 155 of folders before them. */
function nameOf(block: Buffer): string {
  const name = untilNul(block.subarray(0, 100));
  // GNU's magic is "ustar  ", and it keeps times where ustar has the prefix.
  if (block.toString('latin1', 257, 263) !== 'ustar\0') return decodeName(name);
  // Old star ends its magic at the end of the block and keeps times in the last bytes of the prefix.
  const prefixEnd = block.toString('latin1', 508, 512) === 'tar\0' ? 476 : 500;
  const prefix = untilNul(block.subarray(345, prefixEnd));
  if (prefix.length === 0) return decodeName(name);
  return decodeName(Buffer.concat([prefix, Buffer.from('/'), name]));
}

function unsupported(letter: string): string {
  switch (letter) {
    case '3':
    case '4':
      return 'a device';
    case '6':
      return 'a FIFO';
    case 'S':
      return 'a sparse file';
    default:
      return `of the unknown type "${letter}"`;
  }
}

async function skipBody(bytes: ByteReader, sizeBytes: number): Promise<void> {
  await bytes.skip(sizeBytes + paddingOf(sizeBytes));
}

function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}
