import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** One connection that is passed on, and what is done with what goes each way. */
export interface ProxiedConnection {
  /** Splits what the client sends. Ends the connection by returning. */
  readonly fromClient: (chunks: AsyncIterable<Buffer>, to: Socket) => Promise<void>;
  readonly fromServer: (chunks: AsyncIterable<Buffer>, to: Socket) => Promise<void>;
}

export interface TcpProxy {
  readonly port: number;
  /** Cuts all connections, as a network does. */
  cut(): void;
  close(): Promise<void>;
}

/** Passes TCP connections on to another port of this machine. */
export async function startProxy(
  target: () => number,
  open: () => ProxiedConnection,
): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: '127.0.0.1', port: target(), noDelay: true });
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', end);
      socket.on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    const { fromClient, fromServer } = open();
    // What breaks off is what these proxies are for.
    fromClient(client, upstream)
      .catch(() => undefined)
      .finally(end);
    fromServer(upstream, client)
      .catch(() => undefined)
      .finally(end);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port.');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: address.port,
    cut,
    close: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
