/** The longest piece; each is told, and stored, as one. */
const PIECE_BYTES = 16 * 1024;

/** Text, and how many bytes it was. */
export interface TextPiece {
  readonly text: string;
  readonly bytes: number;
}

/**
 * Cuts bytes into texts of whole characters, at most 16 KiB each, so that one can go on after any of them by its
 * number of bytes. An incomplete character at the end is left over.
 */
export function cutText(bytes: Buffer): TextPiece[] {
  const pieces: TextPiece[] = [];
  for (let at = 0; at < bytes.length; ) {
    const part = bytes.subarray(at, at + PIECE_BYTES);
    const length = completeLength(part);
    if (length === 0) break;
    pieces.push({ text: part.toString('utf8', 0, length), bytes: length });
    at += length;
  }
  return pieces;
}

/** Without the bytes at the end that begin a character (RFC 3629) whose rest is missing. */
function completeLength(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    const isContinuation = (byte & 0xc0) === 0x80;
    if (isContinuation) continue;
    const wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return wanted > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
