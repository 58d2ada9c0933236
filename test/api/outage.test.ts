import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './test-api.ts';

/** Stands between the API and PostgreSQL, and can be cut. */
class Cable {
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #port = 0;
  #target: { host: string; port: number } = { host: '', port: 0 };

  async lay(databaseUrl: string): Promise<string> {
    const url = new URL(databaseUrl);
    this.#target = { host: url.hostname, port: Number(url.port) };
    await this.mend();
    url.hostname = '127.0.0.1';
    url.port = String(this.#port);
    return url.href;
  }

  async mend(): Promise<void> {
    const server = createServer((client) => {
      const upstream = connect(this.#target);
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket.on('error', () => undefined));
        socket.on('close', () => this.#sockets.delete(socket));
      }
      client.pipe(upstream).pipe(client);
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async cut(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

describe('while PostgreSQL is down', () => {
  const cable = new Cable();
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi({ reroute: (url) => cable.lay(url) });
  });
  afterAll(async () => {
    await api.close();
    await cable.cut();
  });

  it('the API says 503 and that nothing was changed, lives, and works again afterwards', async () => {
    expect((await api.call('PUT', '/app?app_name=shop')).status).toBe(201);
    await cable.cut();
    for (const [method, url] of [
      ['GET', '/app'],
      ['PUT', '/app?app_name=other'],
      ['DELETE', '/app/shop'],
    ] as const) {
      const reply = await api.call(method, url);
      expect([reply.status, reply.body.error.code]).toEqual([503, 'service_unavailable']);
      expect(reply.body.error.message).toContain('Nothing was changed');
    }
    expect((await api.call('GET', '/healthz')).status).toBe(200);
    await cable.mend();
    expect((await api.call('GET', '/app')).body).toEqual({ applications: ['shop'] });
  });
});
