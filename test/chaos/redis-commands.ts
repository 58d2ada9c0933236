const END_OF_LINE = '\r\n';

/**
 * Splits what a client sends to Redis into whole commands (RESP arrays of bulk strings), however the network cut it up.
 * @returns each command as its bytes on the wire and its arguments, which share their memory
 */
export async function* splitCommands(
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<{ readonly bytes: Buffer; readonly args: readonly Buffer[] }> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const args = firstCommand(rest);
      if (args === null) break;
      yield { bytes: rest.subarray(0, args.end), args: args.values };
      rest = rest.subarray(args.end);
    }
  }
}

/** The command at the beginning of `bytes`, or null as long as it is not all there. */
function firstCommand(bytes: Buffer): { end: number; values: readonly Buffer[] } | null {
  const count = readNumber(bytes, 0, '*');
  if (count === null) return null;
  let { end } = count;
  const values: Buffer[] = [];
  for (let index = 0; index < count.value; index += 1) {
    const length = readNumber(bytes, end, '$');
    if (length === null) return null;
    end = length.end + length.value + END_OF_LINE.length;
    if (bytes.length < end) return null;
    values.push(bytes.subarray(length.end, length.end + length.value));
  }
  return { end, values };
}

function readNumber(
  bytes: Buffer,
  at: number,
  type: string,
): { readonly value: number; readonly end: number } | null {
  const end = bytes.indexOf(END_OF_LINE, at);
  if (end < 0) return null;
  const line = bytes.toString('latin1', at, end);
  if (!line.startsWith(type)) throw new Error(`Redis's clients send no ${JSON.stringify(line)}.`);
  return { value: Number(line.slice(1)), end: end + END_OF_LINE.length };
}
