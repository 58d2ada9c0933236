import { TruncatedError } from '../byte-reader.ts';

/** Reads bits, most significant first, synchronously from what has been fetched ahead. */
export interface BitReader {
  /** Fetches until `byteCount` bytes are at hand or the source has ended. */
  fetch(byteCount: number): Promise<void>;
  /** The next `count` bits, at most 24. @throws {TruncatedError} if they are not at hand */
  read(count: number): number;
  /** The next 32 bits, unsigned. @throws {TruncatedError} if they are not at hand */
  read32(): number;
  /** Drops the rest of a byte that has been begun. */
  alignToByte(): void;
  /** True if nothing is at hand; after a `fetch` that means the end of the source. */
  isEmpty(): boolean;
  /** Lets the source go. */
  close(): Promise<void>;
}

/** Wraps a stream; from here on nobody else may read it. */
export function openBitReader(source: AsyncIterable<Buffer>): BitReader {
  const chunks = source[Symbol.asyncIterator]();
  let window: Buffer = Buffer.alloc(0);
  let next = 0;
  /** The last `heldBits` bits of `held` have been taken from the window and not been read. */
  let held = 0;
  let heldBits = 0;

  async function fetch(byteCount: number): Promise<void> {
    let atHand = window.length - next;
    if (atHand >= byteCount) return;
    const parts = [window.subarray(next)];
    while (atHand < byteCount) {
      const chunk = await chunks.next();
      if (chunk.done === true) break;
      parts.push(chunk.value);
      atHand += chunk.value.length;
    }
    window = Buffer.concat(parts, atHand);
    next = 0;
  }

  function read(count: number): number {
    while (heldBits < count) {
      const byte = window[next];
      if (byte === undefined) throw new TruncatedError();
      next += 1;
      // What is shifted out at the top has been read long ago.
      held = (held << 8) | byte;
      heldBits += 8;
    }
    heldBits -= count;
    return (held >>> heldBits) & ((1 << count) - 1);
  }

  return {
    fetch,
    read,
    read32: () => (read(16) * 0x10000 + read(16)) >>> 0,
    alignToByte() {
      heldBits -= heldBits % 8;
    },
    isEmpty: () => heldBits === 0 && next === window.length,
    async close() {
      await chunks.return?.();
    },
  };
}
