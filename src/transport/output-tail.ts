import { StringDecoder } from 'node:string_decoder';

/** Takes the bytes of a stream: keeps the last `maxBytes`, and passes whole characters on as they come. */
export interface OutputTail {
  push(chunk: Buffer): void;
  /** All that is kept, as text. Also passes on what the decoder still held. */
  end(): string;
}

/** Memory is bounded by twice `maxBytes` and one chunk. */
export function keepTail(maxBytes: number, onText?: (text: string) => void): OutputTail {
  const decoder = new StringDecoder('utf8');
  let chunks: Buffer[] = [];
  let keptBytes = 0;
  const trim = (): void => {
    const all = Buffer.concat(chunks);
    chunks = [all.length > maxBytes ? Buffer.from(all.subarray(all.length - maxBytes)) : all];
    keptBytes = chunks[0]?.length ?? 0;
  };
  const tell = (text: string): void => {
    if (text !== '') onText?.(text);
  };
  return {
    push: (chunk) => {
      chunks.push(chunk);
      keptBytes += chunk.length;
      if (keptBytes > 2 * maxBytes) trim();
      tell(decoder.write(chunk));
    },
    end: () => {
      tell(decoder.end());
      trim();
      return chunks[0]?.toString('utf8') ?? '';
    },
  };
}
