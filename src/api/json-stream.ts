import { Readable } from 'node:stream';

const CHUNK_CHARACTERS = 64 * 1024;
/** The first chunk goes as soon as it is worth a packet, so that whoever waits sees that something comes. */
const FIRST_CHUNK_CHARACTERS = 1024;

const PAGES = Symbol('pages');

/** A list that is read while it is sent, many elements at a time: what comes together is turned into text together. */
export interface PagedList {
  /** The elements of each page as JSON, with commas between them. */
  readonly [PAGES]: AsyncIterable<string>;
}

/** Takes pages of elements for one list of all of them. */
export function paged(pages: AsyncIterable<readonly unknown[]>): PagedList {
  return pagedJson(eachText(pages));
}

/** As `paged`, of elements that are JSON already, with commas between those of a page. */
export function pagedJson(pages: AsyncIterable<string>): PagedList {
  return { [PAGES]: pages };
}

async function* eachText(pages: AsyncIterable<readonly unknown[]>): AsyncGenerator<string> {
  for await (const page of pages) yield JSON.stringify(page).slice(1, -1);
}

/**
 * JSON of which any list may be one that is read while it is sent, however deep in objects. Elements of lists are
 * ordinary JSON. A member may be a function that gives it when its turn comes, as what the lists before have shown is
 * known then; members that are undefined are left out.
 */
export type StreamedJson = Readonly<Record<string, unknown>>;

/** The part of a reply that is needed here; Fastify's own type would hold the stream to the route's schema. */
interface StreamReply {
  type(contentType: string): unknown;
  send(payload: unknown): unknown;
}

/**
 * Answers with JSON that is written as it becomes known, in chunks, so that a list of a million entries is never held
 * as text. When the client goes away the lists are let go.
 * @throws what fails before the first chunk is there, so that it can still be answered properly
 */
export async function sendJsonStream(reply: StreamReply, value: StreamedJson): Promise<void> {
  const chunks = inChunks(write(value));
  const first = await chunks.next();
  reply.type('application/json; charset=utf-8');
  reply.send(Readable.from(startingWith(first, chunks), { objectMode: false }));
}

async function* startingWith(
  first: IteratorResult<string>,
  rest: AsyncGenerator<string>,
): AsyncGenerator<string> {
  try {
    if (first.done !== true) yield first.value;
    yield* rest;
  } finally {
    // A generator that was never begun does not end its parts by itself.
    await rest.return(undefined);
  }
}

async function* inChunks(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let text = '';
  let enough = FIRST_CHUNK_CHARACTERS;
  for await (const part of parts) {
    text += part;
    if (text.length < enough) continue;
    yield text;
    text = '';
    enough = CHUNK_CHARACTERS;
  }
  if (text !== '') yield text;
}

async function* write(value: unknown): AsyncGenerator<string> {
  if (value === null || typeof value !== 'object') {
    yield JSON.stringify(value);
  } else if (isPaged(value)) {
    let separator = '[';
    for await (const page of value[PAGES]) {
      if (page === '') continue;
      yield separator + page;
      separator = ',';
    }
    yield separator === '[' ? '[]' : ']';
  } else if (isList(value)) {
    let separator = '[';
    for await (const item of value) {
      yield separator + JSON.stringify(item);
      separator = ',';
    }
    yield separator === '[' ? '[]' : ']';
  } else {
    let separator = '{';
    for (const [key, given] of Object.entries(value)) {
      const member: unknown = typeof given === 'function' ? given() : given;
      if (member === undefined) continue;
      yield `${separator}${JSON.stringify(key)}:`;
      yield* write(member);
      separator = ',';
    }
    yield separator === '{' ? '{}' : '}';
  }
}

function isPaged(value: object): value is PagedList {
  return PAGES in value;
}

function isList(value: object): value is Iterable<unknown> | AsyncIterable<unknown> {
  return Symbol.iterator in value || Symbol.asyncIterator in value;
}
