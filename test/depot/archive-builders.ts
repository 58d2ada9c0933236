import { crc32, deflateRawSync, gzipSync } from 'node:zlib';

/** An entry as a test wants it in an archive, however wrong. */
export interface TarEntry {
  readonly name: string | Buffer;
  readonly content?: Buffer | string;
  /** The letter of the type; default `0`. */
  readonly type?: string;
  readonly target?: string | Buffer;
  readonly mode?: number;
  /** Says another size than that of the content. */
  readonly claimedSizeBytes?: number;
}

/** A tar with the two zero blocks at its end. */
export function tar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(1024)]);
}

/** One member: header, content, padding. */
export function tarEntry(entry: TarEntry): Buffer {
  const content = Buffer.from(entry.content ?? '');
  const header = Buffer.alloc(512);
  Buffer.from(entry.name).copy(header, 0, 0, 100);
  header.write(`${(entry.mode ?? 0o644).toString(8).padStart(7, '0')}\0`, 100);
  header.write('0000000\0'.repeat(2), 108);
  const size = entry.claimedSizeBytes ?? content.length;
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(entry.type ?? '0', 156);
  Buffer.from(entry.target ?? '').copy(header, 157, 0, 100);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** A pax header for the member that follows. */
export function pax(records: Readonly<Record<string, string>>): TarEntry {
  const content = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest);
    while (Buffer.byteLength(`${length}${rest}`) !== length)
      length = Buffer.byteLength(`${length}${rest}`);
    return `${length}${rest}`;
  });
  return { name: 'PaxHeader', type: 'x', content: content.join('') };
}

export function tarGz(entries: readonly TarEntry[]): Buffer {
  return gzipSync(tar(entries));
}

export interface ZipEntry {
  readonly name: string | Buffer;
  readonly content?: Buffer | string;
  /** Type and permissions of Unix; without it the entry is as from DOS. */
  readonly mode?: number;
  readonly isDeflated?: boolean;
  readonly flags?: number;
  readonly claimedCrc?: number;
  readonly claimedSizeBytes?: number;
  readonly method?: number;
  readonly extra?: Buffer;
}

/** A zip, byte by byte as APPNOTE.TXT has it. */
export function zip(entries: readonly ZipEntry[]): Buffer {
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const content = Buffer.from(entry.content ?? '');
    const isDeflated = entry.isDeflated ?? false;
    const stored = isDeflated ? deflateRawSync(content) : content;
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(entry.flags ?? 0x800, 2);
    common.writeUInt16LE(entry.method ?? (isDeflated ? 8 : 0), 4);
    common.writeUInt16LE(0x21, 8);
    common.writeUInt32LE(entry.claimedCrc ?? crc32(content), 10);
    common.writeUInt32LE(stored.length, 14);
    common.writeUInt32LE(entry.claimedSizeBytes ?? content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const extra = entry.extra ?? Buffer.alloc(0);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, name, stored]);
    const central = Buffer.alloc(16);
    if (entry.mode !== undefined) central.writeUInt32LE((entry.mode << 16) >>> 0, 8);
    central.writeUInt32LE(offset, 12);
    common.writeUInt16LE(extra.length, 24);
    const madeBy = Buffer.from([20, entry.mode === undefined ? 0 : 3]);
    // Comment length and disk come first, the rest of the fixed part after them.
    centrals.push(
      Buffer.concat([Buffer.from('PK\x01\x02'), madeBy, common, centralTail(central), name, extra]),
    );
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(centrals);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

/** Comment length, disk and internal attributes (all zero), external attributes, offset. */
function centralTail(values: Buffer): Buffer {
  const tail = Buffer.alloc(14);
  values.copy(tail, 6, 8, 16);
  return tail;
}
