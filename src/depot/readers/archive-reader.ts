import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import {
  ARCHIVE_MAGIC_BYTES,
  type ArchiveType,
  assertArchiveType,
  brokenArchive,
} from '../../domain/archive-entry.ts';
import { AppError } from '../../domain/errors.ts';
import { storageError } from '../git.ts';
import type { UnpackBudget } from '../unpack-budget.ts';
import type { ArchiveEntry } from './archive-entry.ts';
import { decodeBzip2 } from './bzip2.ts';
import { readTar } from './tar.ts';
import { readZip } from './zip.ts';

const CHUNK_BYTES = 64 * 1024;

/**
 * Checks that a file begins like the type it was announced as, and tells its size.
 * @throws {AppError} `archive_broken`, `archive_wrong_type`
 */
export async function probeArchive(path: string, fileType: ArchiveType): Promise<number> {
  try {
    const { size } = await stat(path);
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(
        Buffer.alloc(ARCHIVE_MAGIC_BYTES),
        0,
        ARCHIVE_MAGIC_BYTES,
        0,
      );
      assertArchiveType(buffer.subarray(0, bytesRead), fileType);
    } finally {
      await file.close();
    }
    return size;
  } catch (error) {
    throw storageError(error);
  }
}

/**
 * Yields the entries of an archive in its order, reading no faster than they are consumed.
 * @param budget is told of every byte that comes out of the decompression
 * @throws {AppError} `archive_broken` where it cannot be read on, and what the budget throws
 */
export async function* readArchive(o: {
  readonly path: string;
  readonly fileType: ArchiveType;
  readonly budget: UnpackBudget;
}): AsyncGenerator<ArchiveEntry> {
  try {
    for await (const entry of entriesOf(o)) {
      yield entry.kind === 'file' ? { ...entry, content: () => explained(entry.content()) } : entry;
    }
  } catch (error) {
    throw explain(error);
  }
}

function entriesOf(o: {
  readonly path: string;
  readonly fileType: ArchiveType;
  readonly budget: UnpackBudget;
}): AsyncIterable<ArchiveEntry> {
  switch (o.fileType) {
    case 'zip':
      return readZip(o.path, o.budget);
    case 'tar.gz':
      return readTar(metered(gunzip(o.path), o.budget));
    case 'tar.bz2':
      return readTar(metered(decodeBzip2(fileChunks(o.path)), o.budget));
    default:
      return o.fileType satisfies never;
  }
}

function fileChunks(path: string): Readable {
  return createReadStream(path, { highWaterMark: CHUNK_BYTES });
}

function gunzip(path: string): AsyncIterable<Buffer> {
  // An error of either end reaches the reader of the last stream, so nothing is left for the callback.
  return pipeline(fileChunks(path), createGunzip({ chunkSize: CHUNK_BYTES }), () => {});
}

async function* metered(
  source: AsyncIterable<Buffer>,
  budget: UnpackBudget,
): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    budget.spendBytes(chunk.length);
    yield chunk;
  }
}

async function* explained(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* content;
  } catch (error) {
    throw explain(error);
  }
}

/** What a reader throws by itself is about the archive, unless the disk failed or the signal was raised. */
function explain(error: unknown): unknown {
  if (error instanceof AppError) return error;
  if (!(error instanceof Error) || error.name === 'AbortError' || error.name === 'TimeoutError') {
    return error;
  }
  if ('syscall' in error) return storageError(error);
  return brokenArchive(error.message.slice(0, 200), error);
}
