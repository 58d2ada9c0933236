import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';
import type { FeedItem } from '../services/event-feed.ts';

/** What is sent while nothing happens, so that proxies and clients know that the stream lives. */
const HEARTBEAT = ': still there\n\n';
/** How soon a client comes back after a broken connection, unless it knows better. */
const RETRY_MS = 2000;
/** A client that takes nothing at all for so long is gone, whatever its connection says. */
const STALLED_MS = 120_000;
/** Bytes that wait for a slow client, beside the page of events that is being sent and what the system buffers. */
const BUFFER_BYTES = 16 * 1024;

/** How many streams there are of how many that may be. */
export interface StreamPlaces {
  taken: number;
  readonly max: number;
}

export interface EventStreamOptions {
  readonly places: StreamPlaces;
  /** From the query. */
  readonly after: string | undefined;
  /** Opens the feed after the event of this number. `signal` is aborted when nobody listens any more. */
  readonly open: (after: bigint, signal: AbortSignal) => AsyncGenerator<FeedItem>;
}

/**
 * Answers with a stream of Server-Sent Events: `id` is the number of the event, `event` its kind, `data` its JSON. The
 * last one is `end`, without an id, with the status that was reached; then the stream closes. Rows are read as fast as
 * the client takes them.
 * @throws {AppError} `invalid_input` for a bad `Last-Event-ID`, `too_many_requests`
 * Source: HTML Living Standard, 9.2 "Server-sent events"; API.md, "Deployments".
 */
export async function sendEventStream(
  request: FastifyRequest,
  reply: FastifyReply,
  { places, after, open }: EventStreamOptions,
): Promise<FastifyReply> {
  const position = lastEventId(request) ?? BigInt(after ?? '0');
  if (places.taken >= places.max) {
    throw new AppError(
      'too_many_requests',
      `Muster sends ${counted(places.max, 'event stream')} already; close one that is not needed, or ask again in a while.`,
      { retryable: true },
    );
  }
  places.taken += 1;
  const gone = new AbortController();
  const { socket } = request.raw;
  const onStalled = (): void => void socket.destroy();
  socket.setTimeout(STALLED_MS, onStalled);
  reply.raw.once('close', () => {
    places.taken -= 1;
    socket.off('timeout', onStalled);
    gone.abort(new Error('the client has gone away'));
  });
  const feed = open(position, AbortSignal.any([gone.signal, reply.server.stopping]));
  const stream = Readable.from(toText(feed), { objectMode: false, highWaterMark: BUFFER_BYTES });
  return (
    reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-cache')
      // Not kept for a next request: that would hold up a Muster that stops.
      .header('connection', 'close')
      // A proxy that collects the reply first would make it anything but live.
      .header('x-accel-buffering', 'no')
      .send(stream)
  );
}

async function* toText(feed: AsyncGenerator<FeedItem>): AsyncGenerator<string> {
  // Sent at once, so that the client knows that it is connected.
  yield `retry: ${RETRY_MS}\n\n`;
  for await (const item of feed) yield textOf(item);
}

function textOf(item: FeedItem): string {
  switch (item.kind) {
    case 'events':
      return item.events
        .map(({ id, kind, json }) => `id: ${id}\nevent: ${kind}\ndata: ${json}\n\n`)
        .join('');
    case 'idle':
      return HEARTBEAT;
    case 'end':
      return `event: end\ndata: ${JSON.stringify({ status: item.status })}\n\n`;
  }
}

function lastEventId(request: FastifyRequest): bigint | null {
  const header = request.headers['last-event-id'];
  if (header === undefined || header === '') return null;
  if (typeof header === 'string' && /^\d{1,18}$/.test(header)) return BigInt(header);
  throw new AppError(
    'invalid_input',
    'The header Last-Event-ID must be the id of an event of this stream; leave it out to get all.',
    { details: { header: 'last-event-id' } },
  );
}
