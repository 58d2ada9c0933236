import { brokenArchive } from '../../domain/archive-entry.ts';
import { type BitReader, openBitReader } from './bit-reader.ts';
import { readBlock } from './bzip2-block.ts';

const OUTPUT_CHUNK_BYTES = 64 * 1024;
const BLOCK_UNIT_BYTES = 100_000;
/**
 * No legal block is longer when compressed: 900,000 symbols of at most 20 bits, and its tables.
 * So a block can be decoded in one go, and running out of bits in it means that the file is cut off.
 */
const MAX_COMPRESSED_BLOCK_BYTES = 2_400_000;

/**
 * Decompresses bzip2, several streams in a row included (as pbzip2 writes them), in bounded memory: about 8 MB.
 *
 * Not by `unbzip2-stream`: it decodes all it has been given before anyone can say stop, and gathers each block as a list of
 * numbers. Measured with an upload of 253 bytes that holds 200 MB of zeros: 2.4 GB of memory
 * before the first byte came out.
 * @throws {AppError} `archive_broken`; other errors are those of the source
 */
export async function* decodeBzip2(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const bits = openBitReader(source);
  try {
    do {
      yield* decodeStream(bits);
      await bits.fetch(MAX_COMPRESSED_BLOCK_BYTES);
    } while (!bits.isEmpty());
  } finally {
    await bits.close();
  }
}

async function* decodeStream(bits: BitReader): AsyncGenerator<Buffer> {
  await bits.fetch(MAX_COMPRESSED_BLOCK_BYTES);
  const magic = bits.read(24);
  const level = bits.read(8) - 0x30;
  // "BZh", then the size of the blocks.
  if (magic !== 0x425a68 || level < 1 || level > 9) throw damaged('something else follows it');
  const block = new Uint32Array(level * BLOCK_UNIT_BYTES);
  let streamChecksum = 0;
  for (;;) {
    await bits.fetch(MAX_COMPRESSED_BLOCK_BYTES);
    const mark = [bits.read(24), bits.read(24)];
    if (mark[0] === 0x177245 && mark[1] === 0x385090) break;
    if (mark[0] !== 0x314159 || mark[1] !== 0x265359)
      throw damaged('a block does not begin as it should');
    const expected = bits.read32();
    const output = openBlockOutput(block, readBlock(bits, block));
    for (;;) {
      const chunk = output.next();
      if (chunk.length === 0) break;
      yield chunk;
    }
    if (output.checksum() !== expected) throw damaged('a checksum is wrong');
    streamChecksum = (((streamChecksum << 1) | (streamChecksum >>> 31)) ^ expected) >>> 0;
  }
  if (bits.read32() !== streamChecksum) throw damaged('a checksum is wrong');
  bits.alignToByte();
}

interface BlockOutput {
  /** The next bytes, none at the end of the block. */
  next(): Buffer;
  /** Of all that has come out. */
  checksum(): number;
}

/** Follows the chain of the block and undoes its first run-length coding: after four equal bytes stands how often more. */
function openBlockOutput(
  block: Uint32Array,
  o: { readonly length: number; readonly origin: number },
): BlockOutput {
  let left = o.length;
  let position = (block[o.origin] ?? 0) >>> 8;
  let previous = -1;
  let equalInARow = 0;
  let repeats = 0;
  let checksum = 0xffffffff;

  function next(): Buffer {
    const out = Buffer.allocUnsafe(OUTPUT_CHUNK_BYTES);
    let filled = 0;
    while (filled < OUTPUT_CHUNK_BYTES) {
      if (repeats > 0) {
        repeats -= 1;
      } else if (left === 0) {
        break;
      } else {
        left -= 1;
        const link = block[position] ?? 0;
        position = link >>> 8;
        const byte = link & 0xff;
        if (equalInARow === 4) {
          repeats = byte;
          equalInARow = 0;
          continue;
        }
        equalInARow = byte === previous && equalInARow > 0 ? equalInARow + 1 : 1;
        previous = byte;
      }
      out[filled] = previous;
      filled += 1;
      checksum = (checksum << 8) ^ (CRC_TABLE[(checksum >>> 24) ^ previous] ?? 0);
    }
    return out.subarray(0, filled);
  }

  return { next, checksum: () => ~checksum >>> 0 };
}

function damaged(why: string): Error {
  return brokenArchive(`its bzip2 compression is damaged (${why})`);
}

/** bzip2's CRC-32 goes from the highest bit down, unlike that of zip and gzip. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit += 1) {
    value = value < 0 ? (value << 1) ^ 0x04c11db7 : value << 1;
  }
  return value;
});
