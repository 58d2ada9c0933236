import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { appendEvent } from '../../src/store/events.ts';
import { claimJob, finishJob, insertJob } from '../../src/store/jobs.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

let api: TestApi;
let port: number;
const open = new Set<Stream>();
beforeAll(async () => {
  api = await startTestApi({ settings: { MUSTER_EVENT_STREAMS: '210' } });
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  port = (api.app.server.address() as AddressInfo).port;
});
afterEach(() => {
  for (const stream of open) stream.close();
  open.clear();
});
afterAll(() => api.close());

interface SentEvent {
  readonly id: string | null;
  readonly event: string;
  readonly data: unknown;
}

/** A client of an event stream over a real socket. */
interface Stream {
  readonly reply: IncomingMessage;
  readonly events: SentEvent[];
  /** Everything that came, comments too. */
  text: string;
  isClosed: boolean;
  close(): void;
}

async function connect(path: string, headers: Record<string, string> = {}): Promise<Stream> {
  const client = httpRequest({ port, path, headers: { 'auth-token': TOKEN, ...headers } });
  client.on('error', () => undefined);
  client.end();
  const reply = await new Promise<IncomingMessage>((resolve) => client.once('response', resolve));
  const stream: Stream = {
    reply,
    events: [],
    text: '',
    isClosed: false,
    close: () => client.destroy(),
  };
  open.add(stream);
  let rest = '';
  reply.setEncoding('utf8');
  reply.on('data', (chunk: string) => {
    stream.text += chunk;
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string): string | null =>
        block
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2) ?? null;
      const event = field('event');
      if (event === null) continue;
      stream.events.push({ id: field('id'), event, data: JSON.parse(field('data') ?? 'null') });
    }
  });
  reply.once('close', () => {
    stream.isClosed = true;
  });
  reply.on('error', () => undefined);
  return stream;
}

const newJob = async (): Promise<string> => {
  const job = { kind: 'create_gitrepo', data: {}, username: 'admin', applicationId: null };
  return (await insertJob(api.services.database.db, job)).id;
};
const tell = (jobId: string, n: number, text = ''): Promise<void> =>
  appendEvent(api.services.database.db, {
    jobId,
    deploymentId: null,
    kind: 'progress',
    data: { n, text },
  });
const end = async (id: string): Promise<void> => {
  const { database } = api.services;
  const claimed = await claimJob(database.db, id, 'test');
  await database.transaction(async (tx) => {
    const claim = { id, worker: 'test', attempts: claimed?.attempts ?? 0 };
    await finishJob(tx, claim, { status: 'succeeded', result: null });
    await appendEvent(tx, { jobId: id, deploymentId: null, kind: 'job_succeeded', data: null });
  });
};
const numbers = (stream: Stream): unknown[] =>
  stream.events.filter((e) => e.event === 'progress').map((e) => (e.data as { n: number }).n);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe('an event stream', () => {
  it('sends what was told, then what is told, then `end`, and closes', async () => {
    const id = await newJob();
    await tell(id, 0);
    const stream = await connect(`/job/${id}/events`);
    expect(stream.reply.statusCode).toBe(200);
    expect(stream.reply.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
    });
    await expect.poll(() => numbers(stream)).toEqual([0]);
    await tell(id, 1);
    await expect.poll(() => numbers(stream)).toEqual([0, 1]);
    await tell(id, 2);
    await end(id);
    await expect.poll(() => stream.isClosed).toBe(true);
    expect(stream.events.slice(2)).toEqual([
      { id: expect.any(String), event: 'progress', data: { n: 2, text: '' } },
      { id: expect.any(String), event: 'job_succeeded', data: null },
      { id: null, event: 'end', data: { status: 'succeeded' } },
    ]);
    const ids = stream.events.flatMap((e) => (e.id === null ? [] : [BigInt(e.id)]));
    expect(ids).toEqual([...ids].sort((a, b) => (a < b ? -1 : 1)));
  });

  it('goes on after the event that a client names, by header or by query, without a gap', async () => {
    const id = await newJob();
    for (const n of upTo(250)) await tell(id, n);
    await end(id);
    const seen: unknown[] = [];
    let last = '';
    // Breaks the connection again and again, wherever it happens to be.
    for (let tries = 0; ; tries += 1) {
      const stream = await connect(
        `/job/${id}/events`,
        last === '' ? {} : { 'last-event-id': last },
      );
      stream.reply.once('data', () => setTimeout(() => stream.close(), tries * 3));
      await expect.poll(() => stream.isClosed).toBe(true);
      seen.push(...numbers(stream));
      last = stream.events.findLast((e) => e.id !== null)?.id ?? last;
      if (stream.events.some((e) => e.event === 'end')) break;
    }
    expect(seen).toEqual(upTo(250));
    const rest = await connect(`/job/${id}/events?after=${BigInt(last) - 2n}`);
    await expect.poll(() => rest.isClosed).toBe(true);
    expect(rest.events.map((e) => e.event)).toEqual(['progress', 'job_succeeded', 'end']);
    const over = await connect(`/job/${id}/events?after=1`, { 'last-event-id': last });
    await expect.poll(() => over.isClosed).toBe(true);
    expect(over.events.map((e) => e.event)).toEqual(['end']);
  });

  it('misses nothing that is told at once from many places, some of them slow to commit', async () => {
    const id = await newJob();
    const { database } = api.services;
    const stream = await connect(`/job/${id}/events`);
    const other = await newJob();
    await Promise.all(
      upTo(40).map(async (n) => {
        if (n % 4 !== 0) return tell(id, n);
        // Has its number long before it commits; events of others must neither wait nor overtake.
        await database.transaction(async (tx) => {
          const event = { jobId: id, deploymentId: null, kind: 'progress', data: { n } };
          await appendEvent(tx, event);
          await sleep(n);
        });
        await tell(other, n);
      }),
    );
    await end(id);
    await expect.poll(() => stream.isClosed).toBe(true);
    expect([...numbers(stream)].sort((a, b) => Number(a) - Number(b))).toEqual(upTo(40));
    expect(new Set(stream.events.map((e) => e.id)).size).toBe(stream.events.length);
  });

  it('waits for a slow reader without slowing down who tells, and keeps little in memory', async () => {
    const id = await newJob();
    // 50 MB, twenty-five pages.
    await api.services.database.db.$executeRaw`
      insert into events (job_id, kind, data)
      select ${id}::uuid, 'progress', json_build_object('n', n, 'text', repeat('x', 64 * 1024))
        from generate_series(0, 799) as n order by n`;
    const read = countBytesRead();
    const stream = await connect(`/job/${id}/events`);
    stream.reply.pause();
    await tell(id, 800);
    await end(id);
    // Time to do what it must not: on a slow machine it may not come to it, on most it would.
    await sleep(800);
    // What the system buffers, and two pages at most beside it; no more is read on behalf of who does not read.
    expect(read.bytes()).toBeGreaterThan(0);
    expect(read.bytes()).toBeLessThanOrEqual(16 * 1024 * 1024);
    stream.reply.resume();
    await expect.poll(() => stream.isClosed).toBe(true);
    read.stop();
    expect(numbers(stream)).toEqual(upTo(801));
  });

  it('can be had by two hundred clients at once, but not by any number', async () => {
    const id = await newJob();
    const streams = await Promise.all(upTo(200).map(() => connect(`/job/${id}/events`)));
    for (const n of upTo(20)) await tell(id, n);
    await end(id);
    await expect.poll(() => streams.filter((s) => s.isClosed).length).toBe(200);
    for (const stream of streams) expect(numbers(stream)).toEqual(upTo(20));

    const waiting = await newJob();
    const many = await Promise.all(upTo(212).map(() => connect(`/job/${waiting}/events`)));
    const refused = many.filter((s) => s.reply.statusCode !== 200);
    expect(refused.map((s) => s.reply.statusCode)).toEqual([429, 429]);
    for (const stream of many) stream.close();
    await expect
      .poll(async () => {
        const again = await connect(`/job/${waiting}/events`);
        again.close();
        return again.reply.statusCode;
      })
      .toBe(200);
  });

  it('is refused for what is no event id, and to who may not see the job', async () => {
    const id = await newJob();
    for (const after of ['-1', 'x', '1.5', '9'.repeat(30)]) {
      expect((await api.call('GET', `/job/${id}/events?after=${after}`)).status).toBe(400);
      const headers = { 'last-event-id': after, 'auth-token': TOKEN };
      expect((await api.call('GET', `/job/${id}/events`, { headers })).status).toBe(400);
    }
    expect((await api.call('GET', `/job/${id}/events?folow=true`)).body.error).toMatchObject({
      code: 'unknown_parameter',
    });
    const unknown = '01a1fd52-2d04-74b1-bc48-c083174cf85f';
    expect((await api.call('GET', `/job/${unknown}/events`)).status).toBe(404);
    expect((await api.call('GET', `/app/none/deployments/${unknown}/events`)).status).toBe(404);
    const headers = { authorization: 'Bearer wrong' };
    expect((await api.call('GET', `/job/${id}/events`, { headers })).status).toBe(401);
  });

  it('ends, to be taken up again, when Muster stops', async () => {
    const other = await startTestApi();
    const address = await other.app.listen({ port: 0, host: '127.0.0.1' });
    const job = { kind: 'create_gitrepo', data: {}, username: 'admin', applicationId: null };
    const { id } = await insertJob(other.services.database.db, job);
    const reply = await fetch(`${address}/job/${id}/events`, { headers: { 'auth-token': TOKEN } });
    const text = reply.text();
    await other.close();
    expect(await text).not.toContain('event: end');
  });
});

/** Counts the bytes of what streams tell that are read from the database. */
function countBytesRead(): { bytes: () => number; stop: () => void } {
  const { database } = api.services;
  const { statement } = database;
  let bytes = 0;
  const counted = async (text: Parameters<typeof statement>[0]): Promise<object[]> => {
    const rows = await statement<{ json?: unknown }>(text);
    for (const { json } of rows) bytes += typeof json === 'string' ? json.length : 0;
    return rows;
  };
  Object.assign(database, { statement: counted });
  return { bytes: () => bytes, stop: () => Object.assign(database, { statement }) };
}
