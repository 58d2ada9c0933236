import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { paged, sendJsonStream } from '../../src/api/json-stream.ts';

let app: FastifyInstance;
let address: string;
/** What the lists do that are sent next; set by each test. */
let pages: () => AsyncGenerator<string[]>;
beforeAll(async () => {
  app = Fastify();
  app.get('/', async (_request, reply) => {
    await sendJsonStream(reply, { before: 1, list: paged(pages()), after: 2, none: undefined });
    return reply;
  });
  address = await app.listen({ port: 0, host: '127.0.0.1' });
});
afterAll(() => app.close());

const LONG = 'x'.repeat(2000);

async function* each(list: readonly string[][]): AsyncGenerator<string[]> {
  for (const page of list) yield await Promise.resolve(page);
}

describe('JSON that is sent as it is read', () => {
  it('has the elements of all pages in one list', async () => {
    pages = () => each([[], ['a', '"b"'], [], ['c']]);
    expect(await (await fetch(address)).text()).toBe(
      '{"before":1,"list":["a","\\"b\\"","c"],"after":2}',
    );
    pages = () => each([]);
    expect(await (await fetch(address)).text()).toBe('{"before":1,"list":[],"after":2}');
  });

  it('begins with what is there, before the rest is read', async () => {
    let goOn = (): void => undefined;
    const isSeen = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    pages = async function* () {
      yield [LONG];
      await isSeen;
      yield ['rest'];
    };
    const reply = await fetch(address);
    goOn();
    expect(await reply.json()).toEqual({ before: 1, list: [LONG, 'rest'], after: 2 });
  });

  it('is an error as any other if the first page fails, and breaks off if a later one does', async () => {
    pages = async function* () {
      yield await Promise.reject(new Error('at first'));
    };
    const refused = await fetch(address);
    expect([refused.status, await refused.text()]).toEqual([
      500,
      expect.stringContaining('at first'),
    ]);
    pages = async function* () {
      yield [LONG];
      yield await Promise.reject(new Error('later'));
    };
    const broken = await fetch(address);
    expect(broken.status).toBe(200);
    await expect(broken.text()).rejects.toThrow();
  });
});
