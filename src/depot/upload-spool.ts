import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type ArchiveType, archiveTypeOf, MAGIC_OF_TYPE } from '../domain/archive-entry.ts';
import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';
import { openNewFile } from './new-file.ts';

/** An upload that lies complete in the spool, for a job to take. */
export interface SpooledUpload {
  /** Name in the uploads folder. */
  readonly file: string;
  readonly fileType: ArchiveType;
  readonly sizeBytes: number;
  readonly sha256: string;
  discard(): Promise<void>;
}

export interface SpoolOptions {
  /** See `uploadsDirectory`. */
  readonly directory: string;
  readonly maxBytes: number;
  readonly fileType: ArchiveType;
  /** Lower-case hexadecimal; checked if given. */
  readonly sha256?: string | undefined;
  /** Told the SHA-256 once all bytes are there, whether or not it is the one that was given. */
  readonly onReceived?: (sha256: string) => void;
  /** What the name of the file begins with, so that whoever left it can be told. Default: nothing. */
  readonly prefix?: string;
}

/** The folder of uploads that are under way, in Muster's data directory. */
export function uploadsDirectory(dataDirectory: string): string {
  return join(dataDirectory, 'uploads');
}

/**
 * Streams an upload to a file; memory does not grow with it. Nothing is left behind if it fails.
 * @throws {AppError} `upload_incomplete` if the sender broke off, `payload_too_large`, `archive_wrong_type` by the
 *   first bytes, `archive_broken` if empty, `checksum_mismatch`, `storage_failed`
 */
export async function spoolUpload(source: Readable, options: SpoolOptions): Promise<SpooledUpload> {
  const { directory, fileType } = options;
  // It may fail before the pipeline listens, which hears of that all the same.
  source.once('error', () => {});
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const file = `${options.prefix ?? ''}${randomUUID()}`;
  const path = join(directory, file);
  const discard = (): Promise<void> => rm(path, { force: true });
  const meter = measure(options.maxBytes, fileType);
  try {
    await pipeline(source, meter.stream, await openNewFile(path));
    const { sizeBytes, sha256 } = meter.result();
    options.onReceived?.(sha256);
    if (options.sha256 !== undefined && options.sha256 !== sha256) {
      throw new AppError(
        'checksum_mismatch',
        'The upload does not have the SHA-256 that was given; it was damaged on the way, or the wrong file was sent. Upload it again.',
        { details: { given: options.sha256, received: sha256, size_bytes: sizeBytes } },
      );
    }
    return { file, fileType, sizeBytes, sha256, discard };
  } catch (error) {
    await discard();
    throw error instanceof AppError ? error : translate(error);
  }
}

/** An upload that nobody has written to for so long has lost its sender, if no job has it. */
const ABANDONED_MS = 24 * 3600 * 1000;

/** Removes uploads that a crash has left behind. @param awaited those that jobs are yet to take */
export async function discardAbandoned(
  directory: string,
  awaited: ReadonlySet<string>,
): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  let discarded = 0;
  for (const name of names.filter((each) => !awaited.has(each))) {
    const path = join(directory, name);
    const found = await stat(path).catch(() => null);
    if (found === null || Date.now() - found.mtimeMs < ABANDONED_MS) continue;
    await rm(path, { force: true });
    discarded += 1;
  }
  return discarded;
}

/** Removes what was spooled under a prefix by whoever cannot do it any more. */
export async function discardSpooled(directory: string, prefix: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names.filter((each) => each.startsWith(prefix))) {
    await rm(join(directory, name), { force: true });
  }
}

function measure(
  maxBytes: number,
  fileType: ArchiveType,
): { stream: Transform; result: () => { sizeBytes: number; sha256: string } } {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  let head = Buffer.alloc(0);
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBytes) {
        return done(
          new AppError(
            'payload_too_large',
            `The upload is larger than ${counted(maxBytes, 'byte')}; the setting MUSTER_UPLOAD_MAX_BYTES allows more.`,
            { details: { max_bytes: maxBytes } },
          ),
        );
      }
      if (head.length < 8) {
        head = Buffer.concat([head, chunk.subarray(0, 8 - head.length)]);
        if (head.length === 8) {
          const wrong = wrongType(head, fileType);
          if (wrong !== null) return done(wrong);
        }
      }
      hash.update(chunk);
      return done(null, chunk);
    },
    flush(done) {
      done(sizeBytes === 0 ? emptyUpload() : head.length < 8 ? wrongType(head, fileType) : null);
    },
  });
  return { stream, result: () => ({ sizeBytes, sha256: hash.digest('hex') }) };
}

function wrongType(head: Buffer, fileType: ArchiveType): AppError | null {
  const seen = archiveTypeOf(head);
  if (seen === MAGIC_OF_TYPE[fileType]) return null;
  return new AppError(
    'archive_wrong_type',
    `file_type says ${fileType}, but the upload ${seen === null ? 'is no archive that Muster reads' : `is ${seen} data`}. Send the right file, or the right file_type (zip, tar.gz or tar.bz2).`,
    { details: { file_type: fileType, seen } },
  );
}

function emptyUpload(): AppError {
  return new AppError(
    'archive_broken',
    'The upload is empty. Send the archive as form field `build` or as the body.',
  );
}

function translate(error: unknown): AppError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EACCES' || code === 'EROFS') {
    return new AppError(
      'storage_failed',
      `The upload could not be written to the data directory (${code}). Make room there, then upload again.`,
      { cause: error },
    );
  }
  return new AppError(
    'upload_incomplete',
    'The upload broke off before its end. The build is as it was; upload it again.',
    { cause: error },
  );
}
