import { unsafeEntry } from '../../domain/archive-entry.ts';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads a name or link target of an archive. Anything but UTF-8 is refused: guessing a code page would store names
 * that the build's own files do not refer to.
 * @throws {AppError} `archive_unsafe`
 */
export function decodeName(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw unsafeEntry(Buffer.from(bytes).toString('latin1'), 'has a name that is not valid UTF-8');
  }
}

/** The bytes before the first NUL, as tar pads its fields. */
export function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}
