/** Reads a stream of chunks by exact lengths, pulling only as much as is asked for. */
export interface ByteReader {
  /** Exactly `length` bytes; null if the stream is already at its end. @throws {TruncatedError} if it ends in between */
  read(length: number): Promise<Buffer | null>;
  /** A line without its line feed; null at the end. @throws {TruncatedError} if there is none within `maxBytes` */
  readLine(maxBytes: number): Promise<string | null>;
  /** The next `length` bytes in chunks. What the consumer leaves is left in the stream. @throws {TruncatedError} */
  stream(length: number): AsyncGenerator<Buffer>;
  /** @throws {TruncatedError} if there are fewer than `length` bytes */
  skip(length: number): Promise<void>;
  /** Reads to the end and drops everything, so that the source can tell of errors in its tail. */
  drain(): Promise<void>;
  /** Lets the source go. */
  close(): Promise<void>;
}

/** The stream ended where more was promised. */
export class TruncatedError extends Error {
  constructor() {
    super('it ends too early');
    this.name = 'TruncatedError';
  }
}

/** Wraps a stream; from here on nobody else may read it. */
export function openByteReader(source: AsyncIterable<Buffer>): ByteReader {
  const chunks = source[Symbol.asyncIterator]();
  let current: Buffer = Buffer.alloc(0);

  /** Makes `current` non-empty; false at the end of the stream. */
  async function refill(): Promise<boolean> {
    while (current.length === 0) {
      const next = await chunks.next();
      if (next.done === true) return false;
      current = next.value;
    }
    return true;
  }

  function take(length: number): Buffer {
    const taken = current.subarray(0, length);
    current = current.subarray(taken.length);
    return taken;
  }

  async function read(length: number): Promise<Buffer | null> {
    if (current.length >= length) return take(length);
    if (!(await refill())) return null;
    const parts: Buffer[] = [];
    for (let missing = length; missing > 0; ) {
      if (!(await refill())) throw new TruncatedError();
      const part = take(missing);
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts, length);
  }

  async function readLine(maxBytes: number): Promise<string | null> {
    let line = Buffer.alloc(0);
    while (await refill()) {
      const end = current.indexOf(0x0a);
      line = Buffer.concat([line, take(end === -1 ? current.length : end)]);
      if (line.length > maxBytes) break;
      if (end === -1) continue;
      take(1);
      return line.toString('utf8');
    }
    if (line.length === 0) return null;
    throw new TruncatedError();
  }

  async function* stream(length: number): AsyncGenerator<Buffer> {
    for (let missing = length; missing > 0; ) {
      if (!(await refill())) throw new TruncatedError();
      const part = take(missing);
      missing -= part.length;
      yield part;
    }
  }

  async function skip(length: number): Promise<void> {
    for (let missing = length; missing > 0; ) {
      if (!(await refill())) throw new TruncatedError();
      missing -= take(missing).length;
    }
  }

  async function drain(): Promise<void> {
    while (await refill()) take(current.length);
  }

  async function close(): Promise<void> {
    await chunks.return?.();
  }

  return { read, readLine, stream, skip, drain, close };
}

/** Splits a stream at a byte and yields the parts as text; what stands after the last one is yielded too unless empty. */
export async function* splitRecords(
  source: AsyncIterable<Buffer>,
  separator: number,
): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    // Cut at bytes, not characters: a character may be spread over two chunks.
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(separator, start);
      if (end === -1) break;
      yield bytes.toString('utf8', start, end);
      start = end + 1;
    }
    rest = bytes.subarray(start);
  }
  if (rest.length > 0) yield rest.toString('utf8');
}
