import { type ArchiveLimits, RATIO_APPLIES_ABOVE_BYTES } from '../domain/archive-entry.ts';
import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';

/** Counts what an archive unpacks to while it does, so that a bomb is stopped at the limit and not after it. */
export interface UnpackBudget {
  /** Call before each entry. @throws {AppError} `archive_too_large`, or the reason of the signal */
  spendEntry(): void;
  /** Call for every chunk that comes out. @throws {AppError} `archive_too_large`, or the reason of the signal */
  spendBytes(count: number): void;
}

/** @param archiveBytes the size of the archive itself, for the ratio */
export function openUnpackBudget(o: {
  readonly archiveBytes: number;
  readonly limits: ArchiveLimits;
  readonly signal?: AbortSignal | undefined;
}): UnpackBudget {
  const { limits, signal } = o;
  const maxBytesByRatio = Math.max(RATIO_APPLIES_ABOVE_BYTES, o.archiveBytes * limits.maxRatio);
  let entries = 0;
  let bytes = 0;
  return {
    spendEntry() {
      signal?.throwIfAborted();
      entries += 1;
      if (entries > limits.maxEntries) {
        throw tooLarge(`holds more than ${counted(limits.maxEntries, 'entry', 'entries')}`, {
          max_entries: limits.maxEntries,
        });
      }
    },
    spendBytes(count) {
      signal?.throwIfAborted();
      bytes += count;
      if (bytes > limits.maxUnpackedBytes) {
        throw tooLarge(`unpacks to more than ${counted(limits.maxUnpackedBytes, 'byte')}`, {
          max_unpacked_bytes: limits.maxUnpackedBytes,
        });
      }
      if (bytes > maxBytesByRatio) {
        throw tooLarge(`unpacks to more than ${limits.maxRatio} times its size`, {
          max_ratio: limits.maxRatio,
        });
      }
    },
  };
}

function tooLarge(what: string, details: Readonly<Record<string, unknown>>): AppError {
  return new AppError(
    'archive_too_large',
    `The archive ${what}; upload a smaller one or raise the limit.`,
    {
      details,
    },
  );
}
