import { type EventPage, type EventSubject, readEventPage } from '../store/events.ts';
import type { ServiceContext } from './context.ts';
import { raceAgainst } from './race-against.ts';
import { createSharedReads } from './shared-reads.ts';

/**
 * Events of one page, and bytes at which it ends before: what a reader that does not read keeps in memory is at most
 * one page and the next one.
 */
const PAGE = { limit: 1000, limitBytes: 2 * 1024 * 1024 } as const;
/** A lost notification must not hold a reader for long. */
const RECHECK_MS = 10_000;
/** Between two looks of one reader: hundreds of them must not wear out the database over one chatty deployment. */
const BREATH_MS = 200;
/**
 * Looks of all readers of this process: those who have come equally far share one, as all do that are woken together.
 * At most three at once; the rest of the connections are for those who work.
 */
const looks = createSharedReads<EventPage | null>({ gatherMs: 10, atOnce: 3 });

/** What a feed gives: events as they come, signs of life while there are none, and the status at the end. */
export type FeedItem =
  | { readonly kind: 'events'; readonly events: EventPage['events'] }
  | { readonly kind: 'idle' }
  | { readonly kind: 'end'; readonly status: string };

export interface FeedOptions {
  readonly subject: EventSubject;
  /** The number of the last event that is known already; 0 for all. */
  readonly after: bigint;
  readonly isFinal: (status: string) => boolean;
  /** Ends the feed without an `end`. */
  readonly signal: AbortSignal;
}

/**
 * Follows a job or a deployment to its end: every event once and in order, whichever process it happens in. Of what has
 * been told already one page is read ahead of who consumes it, and no more.
 */
export async function* followEvents(
  context: ServiceContext,
  { subject, after, isFinal, signal }: FeedOptions,
): AsyncGenerator<FeedItem> {
  const isLeft = (): boolean => signal.aborted;
  let wake = (): void => {};
  const look = async (from: bigint, isUrgent: boolean): Promise<Look> => {
    // Armed before the rows are read, so that a change in between is not missed.
    const changed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const read = (): Promise<EventPage | null> =>
      readEventPage(context.database, subject, { after: from, ...PAGE });
    const page = await looks.read(`${subject.kind} ${subject.id} ${from}`, read, { isUrgent });
    return { page, changed };
  };
  const begin = (from: bigint, isUrgent: boolean): Promise<Look> => {
    const begun = look(from, isUrgent);
    // Whoever waits for it hears that it has failed; nobody may.
    begun.catch(() => {});
    return begun;
  };
  const unsubscribe = context.listener.subscribe(subject.id, () => wake());
  try {
    let position = after;
    for (let next = begin(position, false); !isLeft(); ) {
      const { page, changed } = await next;
      // Its application was deleted, or it is older than history is kept.
      if (page === null) return yield { kind: 'end', status: 'deleted' };
      const last = page.events.at(-1);
      if (last !== undefined) position = BigInt(last.id);
      // Who catches up is alone with its position, mostly, and goes on at once; who was woken was not woken alone.
      if (page.isFull) next = begin(position, true);
      if (last !== undefined) yield { kind: 'events', events: page.events };
      if (page.isFull) continue;
      if (isFinal(page.status)) return yield { kind: 'end', status: page.status };
      const woken = await raceAgainst(changed, RECHECK_MS, signal);
      if (woken) await raceAgainst(null, BREATH_MS, signal);
      else if (!isLeft()) yield { kind: 'idle' };
      if (!isLeft()) next = begin(position, false);
    }
  } finally {
    unsubscribe();
  }
}

/** What there was to read, and when it is worth to look again. */
interface Look {
  readonly page: EventPage | null;
  readonly changed: Promise<void>;
}
