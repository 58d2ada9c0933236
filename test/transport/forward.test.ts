import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Transport } from '../../src/transport/connection.ts';
import { type Dial, probe } from '../../src/transport/probe.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { requireSshFleet, type SshLab, startSshLab } from './ssh-lab.ts';

describe.skipIf(!(await requireSshFleet()))('looking at a port from the server, over SSH', () => {
  let lab: SshLab;
  let transport: Transport;
  let listener: Server;
  let port: number;
  const signal = AbortSignal.timeout(60_000);

  beforeAll(async () => {
    lab = await startSshLab(['web01']);
    transport = createTransport();
    listener = createServer((socket) => {
      // Who only looks whether the port is open hangs up before it has the answer.
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine');
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const address = listener.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
  });
  afterAll(async () => {
    listener.close();
    await transport.close();
    await lab.close();
  });

  const dialled = async (): Promise<Dial> => {
    const connection = await transport.connect(lab.target('web01'));
    return (to, given) => connection.forward({ host: '127.0.0.1', port: to, signal: given });
  };
  const http = { type: 'http', from: 'server', scheme: 'http', path: '/', status: 200 } as const;
  const rest = { interval: 1, timeout: 5, healthy_after: 1, within: 5 } as const;

  it('sees what answers there', async () => {
    const dial = await dialled();
    expect(await probe({ type: 'tcp', from: 'server', port, ...rest }, dial, signal)).toBeNull();
    expect(await probe({ ...http, port, body: 'fine', ...rest }, dial, signal)).toBeNull();
    expect(await probe({ ...http, port, status: [201, 204], ...rest }, dial, signal)).toBe(
      'status 200',
    );
  });

  it('says so where nothing listens, and the connection stays', async () => {
    const dial = await dialled();
    const seen = await probe({ type: 'tcp', from: 'server', port: 1, ...rest }, dial, signal);
    expect(seen).toMatch(/^port 1 takes no connection \(.*Connection refused\)$/);
    expect(await probe({ type: 'tcp', from: 'server', port, ...rest }, dial, signal)).toBeNull();
  });
});
