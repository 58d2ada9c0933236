import type { Random } from './random.ts';

type Mutation = (bytes: Buffer, random: Random, other: Buffer) => Buffer;

const BLOCK_BYTES = 512;
const ZIP_SIGNATURES = [
  // Where the record's numbers stand, from its signature on. Source: APPNOTE.TXT 4.3.
  { mark: 'PK\x03\x04', fields: [4, 6, 8, 14, 18, 22, 26, 28] },
  { mark: 'PK\x01\x02', fields: [4, 6, 8, 10, 16, 20, 24, 28, 30, 32, 34, 36, 38, 42] },
  { mark: 'PK\x05\x06', fields: [4, 6, 8, 10, 12, 16, 20] },
  { mark: 'PK\x06\x06', fields: [4, 12, 14, 16, 20, 24, 32, 40, 48] },
  { mark: 'PK\x06\x07', fields: [4, 8, 16] },
] as const;
const NUMBERS = [0, 1, 2, 8, 99, 255, 256, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

const flipBits: Mutation = (bytes, random) => {
  const changed = Buffer.from(bytes);
  for (let count = random.next(8) + 1; count > 0; count -= 1) {
    const at = random.next(changed.length);
    changed[at] = (changed[at] ?? 0) ^ (1 << random.next(8));
  }
  return changed;
};

const setBytes: Mutation = (bytes, random) => {
  const changed = Buffer.from(bytes);
  const at = random.next(changed.length);
  changed.fill(
    random.pick([0, 0xff, 0x2f, 0x2e, 0x5c, 0x30]),
    at,
    Math.min(at + random.next(64) + 1, changed.length),
  );
  return changed;
};

const truncate: Mutation = (bytes, random) => bytes.subarray(0, random.next(bytes.length));

const removeRange: Mutation = (bytes, random) => {
  const at = random.next(bytes.length);
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.next(1024) + 1)]);
};

const repeatRange: Mutation = (bytes, random) => {
  const at = random.next(bytes.length);
  const range = bytes.subarray(at, at + random.next(2048) + 1);
  const times = Array.from({ length: random.next(4) + 1 }, () => range);
  return Buffer.concat([bytes.subarray(0, at), ...times, bytes.subarray(at)]);
};

const splice: Mutation = (bytes, random, other) => {
  const at = random.next(bytes.length);
  const from = random.next(other.length);
  const range = other.subarray(from, from + random.next(other.length) + 1);
  return Buffer.concat([bytes.subarray(0, at), range, bytes.subarray(at + random.next(64))]);
};

const append: Mutation = (bytes, random, other) =>
  Buffer.concat([bytes, random.next(2) === 0 ? other : Buffer.alloc(random.next(2000))]);

const setNumber: Mutation = (bytes, random) =>
  writeNumber(Buffer.from(bytes), random.next(bytes.length), random);

/** Of a zip record: lengths, offsets, methods, flags. */
const setZipField: Mutation = (bytes, random, other) => {
  const { mark, fields } = random.pick(ZIP_SIGNATURES);
  const places: number[] = [];
  for (let at = bytes.indexOf(mark, 0, 'latin1'); at !== -1; ) {
    places.push(at);
    at = bytes.indexOf(mark, at + 1, 'latin1');
  }
  if (places.length === 0) return setNumber(bytes, random, other);
  return writeNumber(Buffer.from(bytes), random.pick(places) + random.pick(fields), random);
};

/** Of a tar header: name, mode, size, type, target, magic, prefix; the checksum is made to fit. */
const setTarField: Mutation = (bytes, random, other) => {
  const changed = Buffer.from(bytes);
  const headers = tarHeaders(changed);
  if (headers.length === 0) return setNumber(bytes, random, other);
  const header = random.pick(headers);
  switch (random.next(6)) {
    case 0:
      header.write(
        random.pick(['../x', '/x', '.git/x', 'a//b', '.', '', 'x/', 'é\0é', 'README']),
        0,
      );
      break;
    case 1:
      header.write(`${random.pick(NUMBERS).toString(8).padStart(11, '0')}\0`, 124);
      break;
    case 2:
      header.writeUInt32BE(random.pick([0x80000000, 0xffffffff, 0x80000001]), 124);
      header.writeUInt32BE(random.pick(NUMBERS), 132);
      break;
    case 3:
      header.write(
        random.pick(['0', '1', '2', '3', '5', '7', 'L', 'K', 'x', 'g', 'S', 'V', '\0', 'Z']),
        156,
      );
      break;
    case 4:
      header.write(random.pick(['..', '/etc', 'README', 'bin', '.git/config', '']), 157);
      break;
    default:
      header[random.next(BLOCK_BYTES)] = random.next(256);
  }
  seal(header);
  return changed;
};

/** In a pax header: the length of a record, or the whole of it. */
const setPaxRecord: Mutation = (bytes, random, other) => {
  const changed = Buffer.from(bytes);
  const at = changed.toString('latin1').search(/\d+ (?:path|size|linkpath|comment)=/);
  if (at === -1) return setTarField(bytes, random, other);
  const record = random.pick([
    '99999 path=',
    '0 path=x\n',
    '12 size=-1\n',
    '30 size=99999999999999999999\n',
    '11 path=\0\0\n',
    '26 GNU.sparse.name=sparse\n',
    '9 path=/\n',
    ' path=x\n',
  ]);
  changed.write(record, at);
  return changed;
};

const MUTATIONS: readonly Mutation[] = [
  ...[flipBits, setBytes, truncate, removeRange, repeatRange, splice, append, setNumber],
  ...[setZipField, setZipField, setTarField, setTarField, setPaxRecord],
];

/** Makes one to three changes. @param other another archive, to take parts from */
export function mutate(bytes: Buffer, random: Random, other: Buffer): Buffer {
  let changed = bytes;
  for (let count = random.pick([1, 1, 1, 2, 3]); count > 0; count -= 1) {
    if (changed.length > 0) changed = random.pick(MUTATIONS)(changed, random, other);
  }
  return changed;
}

function writeNumber(bytes: Buffer, at: number, random: Random): Buffer {
  const value = random.pick(NUMBERS);
  const size = random.pick([1, 2, 4, 8]);
  for (let index = 0; index < size && at + index < bytes.length; index += 1) {
    bytes[at + index] = index < 4 ? (value >>> (8 * index)) & 0xff : value > 0x7fffffff ? 0xff : 0;
  }
  return bytes;
}

function tarHeaders(bytes: Buffer): Buffer[] {
  const headers: Buffer[] = [];
  for (let at = 0; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) {
    const block = bytes.subarray(at, at + BLOCK_BYTES);
    if (block.toString('latin1', 257, 262) === 'ustar') headers.push(block);
  }
  return headers;
}

function seal(header: Buffer): void {
  header.write('        ', 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
}
