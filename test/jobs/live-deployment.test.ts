import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TOKEN } from '../api/test-api.ts';
import { type EventClient, openEventClient } from '../support/event-client.ts';
import { type ControlLab, SERVERS, startControlLab } from './control-lab.ts';

const CLIENTS = 200;
/** Of these, so many break off in the middle, several times, and come back. */
const BREAKING = 20;
const LINES = 500;
/** Two hundred clients in one process with the server that they ask may take their time on a busy machine. */
const PATIENCE = { timeout: 240_000 };
const TEST_TIMEOUT_MS = 300_000;

let lab: ControlLab;
let port: number;
const open = new Set<EventClient>();
beforeAll(async () => {
  lab = await startControlLab();
  await lab.api.app.listen({ port: 0, host: '127.0.0.1' });
  port = (lab.api.app.server.address() as AddressInfo).port;
  const gitdeploy = (await lab.api.call('GET', '/app/shop/gitdeploys/Web')).body;
  const { prepull } = gitdeploy.actions;
  // Prints when it has passed the gate, so that all clients are there.
  const print = `i=0; while [ $i -lt ${LINES} ]; do echo "line $i"; i=$((i + 1)); done`;
  const actions = { prepull, postpull: { print: { 'cmd.run': [{ name: print }] } } };
  const changed = await lab.api.call('PATCH', '/app/shop/gitdeploys/Web', { body: { actions } });
  expect(changed.status).toBe(200);
});
afterEach(async () => {
  for (const client of open) client.close();
  open.clear();
  await lab.open();
});
afterAll(() => lab.close());

async function follow(id: string, lastEventId?: string): Promise<EventClient> {
  const client = await openEventClient({
    port,
    path: `/app/shop/deployments/${id}/events`,
    token: TOKEN,
    ...(lastEventId === undefined ? {} : { lastEventId }),
  });
  open.add(client);
  expect(client.reply.statusCode).toBe(200);
  return client;
}

/** Many clients, of which not all come in the same instant: a request that waits for a connection too long is refused. */
async function followTogether(id: string, count: number): Promise<EventClient[]> {
  const clients: EventClient[] = [];
  while (clients.length < count) {
    const some = Array.from({ length: Math.min(20, count - clients.length) }, () => follow(id));
    clients.push(...(await Promise.all(some)));
  }
  return clients;
}

/** Waits until the deployment has a status. */
async function until(id: string, status: string): Promise<Awaited<ReturnType<typeof lab.show>>> {
  await expect.poll(async () => (await lab.show(id)).status, PATIENCE).toBe(status);
  return lab.show(id);
}

/** A deployment that waits in prepull on its first servers. */
async function begin(build: string): Promise<string> {
  await lab.hold();
  const id = await lab.deploy(build);
  await expect
    .poll(async () => (await lab.show(id)).batches[0].steps[0].status, PATIENCE)
    .toBe('running');
  return id;
}

/** Follows to the end, and breaks off and comes back whenever `every` further events have come. */
async function followInPieces(id: string, every: number): Promise<(string | null)[]> {
  const ids: (string | null)[] = [];
  for (;;) {
    const client = await follow(id, ids.at(-1) ?? undefined);
    const hasEnded = await new Promise<boolean>((resolve) => {
      let came = 0;
      client.onEvent = ({ event, id: number }) => {
        // What comes after it was broken off counts as lost.
        if (came === every) return;
        came += 1;
        ids.push(number);
        if (event === 'end') resolve(true);
        else if (came === every) {
          client.close();
          resolve(false);
        }
      };
    });
    if (hasEnded) return ids;
  }
}

const storedIds = async (deploymentId: string): Promise<(string | null)[]> => {
  const rows = await lab.api.services.database.db.event.findMany({
    where: { deploymentId },
    orderBy: { id: 'asc' },
    select: { id: true },
  });
  return [...rows.map(({ id }) => String(id)), null];
};

/** Counts how often the pages of streams are read. */
function countReads(): { count: () => number; stop: () => void } {
  const { database } = lab.api.services;
  const { db } = database;
  let reads = 0;
  const counted = new Proxy(db, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key);
      if (key !== '$queryRaw' || typeof value !== 'function') return value;
      return (strings: TemplateStringsArray, ...values: unknown[]): unknown => {
        if (strings.join('?').includes('left join lateral')) reads += 1;
        return value.call(target, strings, ...values);
      };
    },
  });
  Object.assign(database, { db: counted });
  return { count: () => reads, stop: () => Object.assign(database, { db }) };
}

describe('a deployment that is watched', { timeout: TEST_TIMEOUT_MS }, () => {
  it('is told to two hundred clients, each event once and in order, also to those who break off', async () => {
    const id = await begin('b2');
    const steady = await followTogether(id, CLIENTS - BREAKING);
    const pieces = Array.from({ length: BREAKING }, (_, n) => followInPieces(id, 5 + n));
    await lab.open();
    await until(id, 'succeeded');
    await expect
      .poll(() => steady.filter(({ isClosed }) => isClosed).length, PATIENCE)
      .toBe(steady.length);
    const expected = await storedIds(id);
    for (const { events } of steady) expect(events.map((event) => event.id)).toEqual(expected);
    for (const ids of await Promise.all(pieces)) expect(ids).toEqual(expected);

    const events = steady[0]?.events ?? [];
    const lines = Array.from({ length: LINES }, (_, n) => `line ${n}\n`).join('');
    for (const server of SERVERS) {
      const own = events.filter(({ data }) => data?.server === server);
      const printed = own.filter(({ event }) => event === 'output').map(({ data }) => data.text);
      expect(printed.join('')).toContain(`\n${lines}`);
      const steps = own.filter(({ event }) => event === 'step').map(({ data }) => data.status);
      expect([steps[0], steps.at(-1)]).toEqual(['running', 'succeeded']);
    }
    const statuses = events.filter(({ event }) => event === 'deployment');
    expect(statuses.map(({ data }) => data.status)).toEqual([
      'queued',
      'preparing',
      'running',
      'succeeded',
    ]);
    expect(events.at(-1)).toEqual({ id: null, event: 'end', data: { status: 'succeeded' } });
  });

  it('is read once for all clients that have come equally far', async () => {
    const id = await begin('b3');
    const clients = await followTogether(id, CLIENTS);
    const known = (await storedIds(id)).length - 1;
    await expect
      .poll(() => clients.every(({ events }) => events.length === known), PATIENCE)
      .toBe(true);
    const reads = countReads();
    await lab.act(id, 'pause');
    await expect
      .poll(() => clients.every(({ events }) => events.length > known), PATIENCE)
      .toBe(true);
    reads.stop();
    // One look when it has happened; a few more if clients were woken apart.
    expect(reads.count()).toBeLessThan(CLIENTS / 10);
    for (const client of clients) client.close();
    await lab.act(id, 'cancel');
    await until(id, 'cancelled');
  });

  it('goes on while clients do not read, of whom little is kept, and who get all of it later', async () => {
    const id = await begin('b2');
    // 50 MB, eight pages: far more than any socket buffers.
    await lab.api.services.database.db.$executeRaw`
      insert into events (deployment_id, kind, data)
      select ${id}::uuid, 'progress', json_build_object('n', n, 'text', repeat('x', 64 * 1024))
        from generate_series(0, 799) as n order by n`;
    const reads = countReads();
    const idle = await follow(id);
    idle.reply.pause();
    await lab.open();
    const done = await until(id, 'succeeded');
    expect(done.progress).toMatchObject({ total: SERVERS.length, done: SERVERS.length, failed: 0 });
    // All that happened, and the half of it was not read for who takes nothing.
    expect(reads.count()).toBeLessThanOrEqual(4);
    reads.stop();
    expect(idle.events.at(-1)?.event).not.toBe('end');
    idle.reply.resume();
    await expect.poll(() => idle.isClosed, PATIENCE).toBe(true);
    expect(idle.events.map((event) => event.id)).toEqual(await storedIds(id));
  });
});
