import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectServer } from '../../src/jobs/connect-server.ts';
import { findServersById } from '../../src/store/servers.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { must } from '../api/shop.ts';
import { startTestApi, type TestApi } from '../api/test-api.ts';

describe('a connection to a server', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.close());

  it('is made with the key that the keypair has now, whenever the job has read its rows', async () => {
    await must(api, 'PUT', '/global/keypairs?name=kp&generate=true');
    await must(api, 'PUT', '/server?name=s&environment=e', {
      connection: { kind: 'ssh', host: 'h', user: 'u', keypair: 'kp' },
    });
    const { config, database, depot } = api.services;
    const { id } = await database.db.server.findUniqueOrThrow({ where: { name: 's' } });
    const [server] = await findServersById(database.db, [id]);
    if (server === undefined) throw new Error('the server is not there');
    const used: string[] = [];
    const transport = createTransport();
    const dependencies = {
      config,
      database,
      depot,
      transport: {
        ...transport,
        connect: (target: Parameters<typeof transport.connect>[0]) => {
          if (target.connection.kind === 'ssh') used.push(target.connection.privateKey);
          return Promise.reject(new Error('nobody is there'));
        },
      },
    };
    const connect = () =>
      expect(connectServer(dependencies, server, AbortSignal.timeout(60_000))).rejects.toThrow();
    await connect();
    await must(api, 'PATCH', '/global/keypairs/kp?generate=true');
    await connect();
    expect(new Set(used).size).toBe(2);
    await transport.close();
  });
});
