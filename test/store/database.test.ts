import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openDatabase } from '../../src/store/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

describe('a connection to the database', () => {
  let testDatabase: TestDatabase;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
  });
  afterAll(() => testDatabase.drop());

  /** Has the only connection in use for a while, and asks for it meanwhile. */
  async function askWhileBusy(limits: { connectMs: number; busyMs: number }): Promise<unknown[]> {
    const { databaseUrl } = testDatabase;
    const database = openDatabase({ databaseUrl, maxConnections: 1, ...limits });
    try {
      // On a busy machine even that takes long.
      await vi.waitFor(() => database.ping(), 30_000);
      const busy = database.transaction((tx) => tx.$executeRaw`select pg_sleep(1.5)`);
      const asked = await Promise.allSettled([
        database.ping(),
        database.transaction((tx) => tx.$executeRaw`select 1`),
      ]);
      await busy;
      return asked.map((each) => (each.status === 'fulfilled' ? 'done' : each.reason));
    } finally {
      await database.close();
    }
  }

  it('is waited for while others use it, for longer than a new one may take', async () => {
    expect(await askWhileBusy({ connectMs: 1000, busyMs: 20_000 })).toEqual(['done', 'done']);
  });

  it('is not waited for without end', async () => {
    const refused = {
      code: 'service_unavailable',
      message: expect.stringContaining('Too much is asked'),
    };
    const asked = await askWhileBusy({ connectMs: 20_000, busyMs: 1000 });
    expect(asked).toEqual([expect.objectContaining(refused), expect.objectContaining(refused)]);
  });

  it('is given up soon if PostgreSQL does not answer, however long a free one is waited for', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const databaseUrl = `postgresql://muster@127.0.0.1:${port}/muster`;
    const database = openDatabase({ databaseUrl, connectMs: 300, busyMs: 20_000 });
    const start = performance.now();
    await expect(database.ping()).rejects.toMatchObject({
      code: 'service_unavailable',
      message: expect.stringContaining('does not answer'),
    });
    expect(performance.now() - start).toBeLessThan(10_000);
    await database.close();
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
});
