import { brokenArchive } from '../../domain/archive-entry.ts';
import type { BitReader } from './bit-reader.ts';

const MAX_CODE_BITS = 20;
const SYMBOLS_PER_SELECTOR = 50;
const RUN_B = 1;

interface HuffmanTable {
  readonly minBits: number;
  /** By length: the first code, how many there are, and where their symbols begin. */
  readonly firstCode: Int32Array;
  readonly count: Int32Array;
  readonly offset: Int32Array;
  readonly symbols: Uint16Array;
}

/**
 * Reads one block (after its mark and checksum) and undoes everything but the first run-length coding.
 * @param block receives, for each place, the byte in the low 8 bits and the next place above; its length is the most a block may hold
 * @returns how many places are used, and the one to start from
 * @throws {AppError} `archive_broken`; {TruncatedError} if the bits end
 */
export function readBlock(
  bits: BitReader,
  block: Uint32Array,
): { readonly length: number; readonly origin: number } {
  if (bits.read(1) === 1) throw damaged('an obsolete form of it');
  const origin = bits.read(24);
  const alphabet = readAlphabet(bits);
  const tableCount = bits.read(3);
  if (tableCount < 2 || tableCount > 6) throw damaged('an impossible number of tables');
  const selectors = readSelectors(bits, tableCount);
  const tables = Array.from({ length: tableCount }, () => readTable(bits, alphabet.length + 2));
  const counts = new Int32Array(256);
  const length = readSymbols({ bits, block, alphabet, selectors, tables, counts });
  if (origin >= length) throw damaged('a start outside its block');
  linkPlaces(block, length, counts);
  return { length, origin };
}

/** The byte values that occur in the block, ascending. */
function readAlphabet(bits: BitReader): Uint8Array {
  const ranges = bits.read(16);
  const values: number[] = [];
  for (let range = 0; range < 16; range += 1) {
    if ((ranges & (0x8000 >> range)) === 0) continue;
    const used = bits.read(16);
    for (let low = 0; low < 16; low += 1) {
      if ((used & (0x8000 >> low)) !== 0) values.push(range * 16 + low);
    }
  }
  if (values.length === 0) throw damaged('a block without bytes');
  return Uint8Array.from(values);
}

/** Which table is used for each group of symbols, undoing their move-to-front coding. */
function readSelectors(bits: BitReader, tableCount: number): Uint8Array {
  const selectors = new Uint8Array(bits.read(15));
  if (selectors.length === 0) throw damaged('a block without selectors');
  const order = Uint8Array.from({ length: tableCount }, (_, index) => index);
  for (let index = 0; index < selectors.length; index += 1) {
    let place = 0;
    while (bits.read(1) === 1) {
      place += 1;
      if (place >= tableCount) throw damaged('a selector of no table');
    }
    selectors[index] = moveToFront(order, place);
  }
  return selectors;
}

function readTable(bits: BitReader, symbolCount: number): HuffmanTable {
  const lengths = new Uint8Array(symbolCount);
  const count = new Int32Array(MAX_CODE_BITS + 1);
  let length = bits.read(5);
  for (let symbol = 0; symbol < symbolCount; symbol += 1) {
    for (;;) {
      if (length < 1 || length > MAX_CODE_BITS) throw damaged('an impossible code length');
      if (bits.read(1) === 0) break;
      length += bits.read(1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
    count[length] = (count[length] ?? 0) + 1;
  }
  return { ...layOut(lengths, count), count, minBits: Math.min(...lengths) };
}

/** Codes are canonical: of one length they follow each other in the order of their symbols. */
function layOut(
  lengths: Uint8Array,
  count: Int32Array,
): Pick<HuffmanTable, 'firstCode' | 'offset' | 'symbols'> {
  const firstCode = new Int32Array(MAX_CODE_BITS + 1);
  const offset = new Int32Array(MAX_CODE_BITS + 1);
  const symbols = new Uint16Array(lengths.length);
  let code = 0;
  let placed = 0;
  for (let length = 1; length <= MAX_CODE_BITS; length += 1) {
    code <<= 1;
    firstCode[length] = code;
    offset[length] = placed;
    code += count[length] ?? 0;
    for (const [symbol, its] of lengths.entries()) {
      if (its !== length) continue;
      symbols[placed] = symbol;
      placed += 1;
    }
  }
  return { firstCode, offset, symbols };
}

function readSymbol(bits: BitReader, table: HuffmanTable): number {
  let code = bits.read(table.minBits);
  for (let length = table.minBits; ; length += 1) {
    const index = code - (table.firstCode[length] ?? 0);
    if (index >= 0 && index < (table.count[length] ?? 0)) {
      return table.symbols[(table.offset[length] ?? 0) + index] ?? 0;
    }
    if (length === MAX_CODE_BITS) throw damaged('a code of no symbol');
    code = (code << 1) | bits.read(1);
  }
}

/** Undoes Huffman, the second run-length and move-to-front coding. @returns how many bytes the block has */
function readSymbols(o: {
  readonly bits: BitReader;
  readonly block: Uint32Array;
  readonly alphabet: Uint8Array;
  readonly selectors: Uint8Array;
  readonly tables: readonly HuffmanTable[];
  readonly counts: Int32Array;
}): number {
  const { bits, block, selectors, counts } = o;
  const order = o.alphabet.slice();
  const endOfBlock = order.length + 1;
  let length = 0;
  let runLength = 0;
  let runWeight = 1;
  for (const selector of selectors) {
    const table = o.tables[selector];
    if (table === undefined) throw damaged('a selector of no table');
    for (let left = SYMBOLS_PER_SELECTOR; left > 0; left -= 1) {
      const symbol = readSymbol(bits, table);
      if (symbol <= RUN_B) {
        runLength += runWeight << symbol;
        runWeight <<= 1;
        // Here and not at the end of the run: after 31 digits the numbers would wrap.
        if (runLength > block.length) throw damaged('a run longer than its block');
        continue;
      }
      if (runLength > 0) {
        const byte = order[0] ?? 0;
        if (length + runLength > block.length) throw damaged('a block longer than announced');
        block.fill(byte, length, length + runLength);
        counts[byte] = (counts[byte] ?? 0) + runLength;
        length += runLength;
        runLength = 0;
        runWeight = 1;
      }
      if (symbol === endOfBlock) return length;
      if (length >= block.length) throw damaged('a block longer than announced');
      const byte = moveToFront(order, symbol - 1);
      block[length] = byte;
      counts[byte] = (counts[byte] ?? 0) + 1;
      length += 1;
    }
  }
  throw damaged('a block without an end');
}

/** Undoes the Burrows-Wheeler transform as far as a chain: each place gets to know the next one. */
function linkPlaces(block: Uint32Array, length: number, counts: Int32Array): void {
  let placed = 0;
  for (let byte = 0; byte < 256; byte += 1) {
    const count = counts[byte] ?? 0;
    counts[byte] = placed;
    placed += count;
  }
  for (let index = 0; index < length; index += 1) {
    const byte = (block[index] ?? 0) & 0xff;
    const place = counts[byte] ?? 0;
    block[place] = (block[place] ?? 0) | (index << 8);
    counts[byte] = place + 1;
  }
}

function moveToFront(order: Uint8Array, place: number): number {
  const value = order[place] ?? 0;
  order.copyWithin(1, 0, place);
  order[0] = value;
  return value;
}

function damaged(why: string): Error {
  return brokenArchive(`its bzip2 compression is damaged (${why})`);
}
