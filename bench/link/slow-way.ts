import { Transform } from 'node:stream';

/** One direction of a server's way: everything that goes it shares its bandwidth. */
export interface SlowWay {
  /** Bytes that have gone it. */
  readonly bytes: number;
  /** What one connection's bytes go through. */
  through(): Transform;
}

/** What may be under way at once: more than the bandwidth holds in one round trip, as in a router's buffer. */
const BUFFER_BYTES = 256 * 1024;
/** A chunk is sent in pieces, so that connections take turns. */
const PIECE_BYTES = 16 * 1024;

/** @param speed `delayMs` for each byte, and how many bytes go in a millisecond */
export function makeSlowWay(speed: {
  readonly delayMs: number;
  readonly bytesPerMs: number;
}): SlowWay {
  /** When the last byte so far has been put on the wire. */
  let freeAt = 0;
  let bytes = 0;
  return {
    get bytes() {
      return bytes;
    },
    through: () => {
      const arriving: { readonly at: number; readonly piece: Buffer }[] = [];
      let waitingBytes = 0;
      let more: (() => void) | null = null;
      let finished: (() => void) | null = null;
      let timer: NodeJS.Timeout | null = null;
      const arrive = (stream: Transform): void => {
        timer = null;
        const now = performance.now();
        for (let next = arriving[0]; next !== undefined && next.at <= now; next = arriving[0]) {
          arriving.shift();
          waitingBytes -= next.piece.length;
          stream.push(next.piece);
        }
        if (arriving.length > 0) schedule(stream);
        else finished?.();
        if (waitingBytes >= BUFFER_BYTES) return;
        const goOn = more;
        more = null;
        goOn?.();
      };
      const schedule = (stream: Transform): void => {
        const [next] = arriving;
        if (next === undefined || timer !== null) return;
        timer = setTimeout(() => arrive(stream), Math.max(0, next.at - performance.now()));
      };
      return new Transform({
        transform(chunk: Buffer, _encoding, done) {
          bytes += chunk.length;
          for (let from = 0; from < chunk.length; from += PIECE_BYTES) {
            const piece = chunk.subarray(from, from + PIECE_BYTES);
            freeAt = Math.max(freeAt, performance.now()) + piece.length / speed.bytesPerMs;
            arriving.push({ at: freeAt + speed.delayMs, piece });
            waitingBytes += piece.length;
          }
          schedule(this);
          if (waitingBytes < BUFFER_BYTES) done();
          else more = done;
        },
        flush(done) {
          if (arriving.length === 0) done();
          else finished = done;
        },
        destroy(error, done) {
          if (timer !== null) clearTimeout(timer);
          done(error);
        },
      });
    },
  };
}
