import type { StepProgress } from '../../domain/step-progress.ts';
import { saveStepsProgress } from '../../store/steps.ts';
import { bulkChange } from '../bulk-change.ts';
import type { JobContext } from '../handler.ts';

const saveProgress = bulkChange(saveStepsProgress);

const FLUSH_MS = 300;
const EXCERPT_CHARACTERS = 4000;
/** The longest text of one event: readers take events by the hundred. */
const EVENT_CHARACTERS = 16 * 1024;
/** A chatty command must not fill the database: what is over this is counted, not kept. */
const STREAM_CHARACTERS = 256 * 1024;

/** What a step prints: streamed as events while it runs, its end kept for the step's row. */
export interface StepLog {
  /** @param progress how far the step is with this text; it is stored with the event that has the text */
  write(text: string, progress?: StepProgress): void;
  /**
   * Writes, and resolves when all is stored.
   * @throws {AppError} `service_unavailable`, or why this worker must stop
   */
  store(text: string, progress: StepProgress): Promise<void>;
  /** Streams what is left. @returns the end of all that was written */
  close(): Promise<string>;
}

/** A text that is told in one event or in none. */
interface Part {
  readonly text: string;
  readonly droppedCharacters: number;
  readonly progress: StepProgress | undefined;
}

export function openStepLog(
  context: JobContext,
  of: { readonly stepId: string; readonly server: string; readonly gitdeploy: string },
): StepLog {
  const { stepId, ...names } = of;
  let waiting: Part[] = [];
  let excerpt = '';
  let kept = 0;
  let flushing: Promise<void> = Promise.resolve();

  const tell = ({ text, droppedCharacters, progress }: Part): Promise<void> => {
    const dropped = droppedCharacters === 0 ? {} : { dropped_characters: droppedCharacters };
    const data = { ...names, text, ...dropped };
    return progress === undefined
      ? context.emit('output', data)
      : context.record('output', data, saveProgress({ id: stepId, progress }));
  };
  const add = (text: string, progress?: StepProgress): void => {
    // PostgreSQL's text holds no NUL.
    const clean = text.replaceAll('\0', '\u{fffd}');
    excerpt = (excerpt + clean).slice(-EXCERPT_CHARACTERS);
    const room = Math.max(0, STREAM_CHARACTERS - kept);
    const part = clean.slice(0, room);
    kept += part.length;
    const added = { text: part, droppedCharacters: clean.length - part.length, progress };
    const last = waiting.at(-1);
    if (last !== undefined && last.text.length + part.length <= EVENT_CHARACTERS) {
      waiting[waiting.length - 1] = join(last, added);
    } else waiting.push(...split(added));
  };
  const flush = (): void => {
    for (const part of waiting) {
      flushing = flushing
        .then(() => tell(part))
        // Output that cannot be stored must not fail the step that made it.
        .catch((error: unknown) =>
          context.log.warn({ err: error }, 'output of a step was not stored'),
        );
    }
    waiting = [];
  };
  const timer = setInterval(flush, FLUSH_MS);

  return {
    write: add,
    store: async (text, progress) => {
      flush();
      add(text, progress);
      const last = waiting;
      waiting = [];
      const stored = flushing.then(async () => {
        for (const part of last) await tell(part);
      });
      // Whoever asked is told of a failure; what comes after it goes on.
      flushing = stored.catch(() => undefined);
      await stored;
    },
    close: async () => {
      clearInterval(timer);
      flush();
      await flushing;
      return excerpt;
    },
  };
}

function join(a: Part, b: Part): Part {
  return {
    text: a.text + b.text,
    droppedCharacters: a.droppedCharacters + b.droppedCharacters,
    progress: b.progress ?? a.progress,
  };
}

/** Only with the last of its parts is a text told as a whole. */
function split(part: Part): Part[] {
  const parts: Part[] = [];
  let { text } = part;
  for (; text.length > EVENT_CHARACTERS; text = text.slice(EVENT_CHARACTERS)) {
    const first = text.slice(0, EVENT_CHARACTERS);
    parts.push({ text: first, droppedCharacters: 0, progress: undefined });
  }
  return [...parts, { ...part, text }];
}
