import { AppError } from '../domain/errors.ts';
import { openByteReader } from './byte-reader.ts';
import { assertObjectId, startGit } from './git.ts';
import { type DepotFolder, repositoryPath } from './repository.ts';

/** Reads blobs one after the other through one git. */
export interface BlobReader {
  /** The content, in chunks. To be read to its end before the next one is asked for. @throws {AppError} `storage_failed` */
  read(blob: string): AsyncGenerator<Buffer>;
  /** The content at once; for what is known to be small. @throws {AppError} `storage_failed` if it is over `maxBytes` */
  readWhole(blob: string, maxBytes: number): Promise<Buffer>;
  /** Ends git and waits for its end. For `finally`. */
  close(): Promise<void>;
}

const MAX_HEADER_BYTES = 200;
/** Somebody downloads a large package over a slow line, and git waits for them. */
const READ_TIMEOUT_MS = 12 * 3600 * 1000;

/** Starts a `git cat-file --batch` for an application. */
export function openBlobReader(
  folder: DepotFolder,
  applicationId: string,
  signal?: AbortSignal,
): BlobReader {
  const child = startGit(folder.git, {
    gitDir: repositoryPath(folder, applicationId),
    args: ['cat-file', '--batch'],
    signal,
    timeoutMs: READ_TIMEOUT_MS,
  });
  const output = openByteReader(child.stdout);

  async function request(blob: string): Promise<number> {
    child.stdin.write(`${assertObjectId(blob)}\n`);
    // `<id> blob <size>`, or `<id> missing`
    const header = await output.readLine(MAX_HEADER_BYTES);
    const size = /^[0-9a-f]{40} blob ([0-9]+)$/.exec(header ?? '')?.[1];
    if (size !== undefined) return Number(size);
    if (header === null) await child.exited;
    throw new AppError(
      'storage_failed',
      'The depot lacks the content of a file; it may be damaged.',
      {
        details: { blob },
      },
    );
  }

  async function* read(blob: string): AsyncGenerator<Buffer> {
    yield* output.stream(await request(blob));
    await output.skip(1);
  }

  return {
    read,
    async readWhole(blob, maxBytes) {
      const sizeBytes = await request(blob);
      const content = sizeBytes === 0 ? Buffer.alloc(0) : null;
      if (sizeBytes > maxBytes) {
        throw new AppError('storage_failed', 'A file of the depot is larger than it can be.', {
          details: { blob },
        });
      }
      const bytes = content ?? (await output.read(sizeBytes)) ?? Buffer.alloc(0);
      await output.skip(1);
      return bytes;
    },
    async close() {
      child.kill();
      await child.exited.catch(() => {});
    },
  };
}
