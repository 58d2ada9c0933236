import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { expect } from 'vitest';

/** A message as it came. */
export interface ReceivedMessage {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says by its expectations what it expects of a body
  readonly json: any;
}

/** A server that webhooks send to. */
export interface WebhookReceiver {
  readonly url: string;
  readonly messages: ReceivedMessage[];
  /** Answers the next messages; default 204. A function may also not answer, or cut the connection. */
  answer: number | ((reply: ServerResponse, message: ReceivedMessage) => void);
  /** Waits until so many messages have come. */
  until(count: number): Promise<readonly ReceivedMessage[]>;
  close(): Promise<void>;
}

export async function startWebhookReceiver(
  tls: { readonly key: Buffer; readonly cert: Buffer } | null = null,
): Promise<WebhookReceiver> {
  const sockets = new Set<Socket>();
  const receive: Parameters<typeof createServer>[1] = (request, reply) => {
    const chunks: Buffer[] = [];
    request.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => void chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const message = {
        path: request.url ?? '',
        headers: request.headers,
        body,
        json: JSON.parse(body),
      };
      receiver.messages.push(message);
      if (typeof receiver.answer === 'number') reply.writeHead(receiver.answer).end('ok');
      else receiver.answer(reply, message);
    });
  };
  const server = tls === null ? createServer(receive) : createTlsServer(tls, receive);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const receiver: WebhookReceiver = {
    url: `${tls === null ? 'http://127.0.0.1' : 'https://localhost'}:${port}`,
    messages: [],
    answer: 204,
    until: async (count) => {
      await expect
        .poll(() => receiver.messages.length, { timeout: 60_000 })
        .toBeGreaterThanOrEqual(count);
      return receiver.messages;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}
