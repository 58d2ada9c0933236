import type { JobContext } from '../handler.ts';

const FLUSH_MS = 300;
const EXCERPT_CHARACTERS = 4000;
/** The longest text of one event: readers take events by the hundred. */
const EVENT_CHARACTERS = 16 * 1024;
/** A chatty command must not fill the database: what is over this is counted, not kept. */
const STREAM_CHARACTERS = 256 * 1024;

/** What a step prints: streamed as events while it runs, its end kept for the step's row. */
export interface StepLog {
  write(text: string): void;
  /** Streams what is left. @returns the end of all that was written */
  close(): Promise<string>;
}

export function openStepLog(
  context: JobContext,
  names: { server: string; gitdeploy: string },
): StepLog {
  let waiting = '';
  let excerpt = '';
  let streamed = 0;
  let flushing: Promise<void> = Promise.resolve();

  const flush = (): void => {
    const text = waiting.slice(0, Math.max(0, STREAM_CHARACTERS - streamed));
    const dropped = waiting.length - text.length;
    waiting = '';
    streamed += text.length;
    if (text === '' && dropped === 0) return;
    for (let at = 0; at === 0 || at < text.length; at += EVENT_CHARACTERS) {
      const part = text.slice(at, at + EVENT_CHARACTERS);
      const isLast = at + EVENT_CHARACTERS >= text.length;
      const data = {
        ...names,
        text: part,
        ...(dropped > 0 && isLast ? { dropped_characters: dropped } : {}),
      };
      flushing = flushing
        .then(() => context.emit('output', data))
        // Output that cannot be stored must not fail the step that made it.
        .catch((error: unknown) =>
          context.log.warn({ err: error }, 'output of a step was not stored'),
        );
    }
  };
  const timer = setInterval(flush, FLUSH_MS);

  return {
    write: (text) => {
      // PostgreSQL's text holds no NUL.
      const clean = text.replaceAll('\0', '\u{fffd}');
      waiting += clean;
      excerpt = (excerpt + clean).slice(-EXCERPT_CHARACTERS);
    },
    close: async () => {
      clearInterval(timer);
      flush();
      await flushing;
      return excerpt;
    },
  };
}
