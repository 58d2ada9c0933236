import { request as httpRequest, type IncomingMessage } from 'node:http';

/** An event as it was sent. */
export interface SentEvent {
  /** Null for the last one, which is no event of the stream. */
  readonly id: string | null;
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says by its expectations what it expects of an event
  readonly data: any;
}

/** A client of an event stream, on a socket of its own. */
export interface EventClient {
  readonly reply: IncomingMessage;
  readonly events: SentEvent[];
  isClosed: boolean;
  /** Called with every event as it comes. */
  onEvent: (event: SentEvent) => void;
  /** Breaks the connection off. */
  close(): void;
}

/** Connects, and resolves when the head of the reply is there. */
export async function openEventClient(o: {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly lastEventId?: string;
}): Promise<EventClient> {
  const client = httpRequest({
    port: o.port,
    path: o.path,
    agent: false,
    headers: {
      'auth-token': o.token,
      ...(o.lastEventId === undefined ? {} : { 'last-event-id': o.lastEventId }),
    },
  });
  const replied = new Promise<IncomingMessage>((resolve, reject) => {
    client.once('response', resolve);
    client.once('error', reject);
  });
  client.end();
  const reply = await replied;
  client.on('error', () => undefined);
  const stream: EventClient = {
    reply,
    events: [],
    isClosed: false,
    onEvent: () => undefined,
    close: () => client.destroy(),
  };
  let rest = '';
  reply.setEncoding('utf8');
  reply.on('data', (chunk: string) => {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event === null) continue;
      stream.events.push(event);
      stream.onEvent(event);
    }
  });
  reply.once('close', () => {
    stream.isClosed = true;
  });
  reply.on('error', () => undefined);
  return stream;
}

function parseBlock(block: string): SentEvent | null {
  const lines = block.split('\n');
  const field = (name: string): string | null =>
    lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? null;
  const event = field('event');
  if (event === null) return null;
  return { id: field('id'), event, data: JSON.parse(field('data') ?? 'null') };
}
