import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A server on 127.0.0.1 that answers as a test wants. */
export interface FileServer {
  readonly port: number;
  /** The requests that came in, as `Host path`. */
  readonly requests: string[];
  close(): Promise<void>;
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export async function startFileServer(
  answer: Answer,
  tls?: { readonly key: Buffer; readonly cert: Buffer },
): Promise<FileServer> {
  const requests: string[] = [];
  const onRequest: Answer = (request, response) => {
    requests.push(`${request.headers.host} ${request.url}`);
    response.on('error', () => {});
    answer(request, response);
  };
  const server = tls === undefined ? createServer(onRequest) : createTlsServer(tls, onRequest);
  return { requests, ...(await listen(server, () => server.closeAllConnections())) };
}

/** A server that writes raw bytes once it has been asked, for what no HTTP server would say. */
export async function startRawServer(
  speak: (socket: Socket) => void,
): Promise<Omit<FileServer, 'requests'>> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => speak(socket));
  });
  return listen(server, () => {
    for (const socket of sockets) socket.destroy();
  });
}

/** A certificate that nobody has signed, for `localhost`. */
export async function makeCertificate(): Promise<{ key: Buffer; cert: Buffer }> {
  const directory = await mkdtemp(join(tmpdir(), 'muster-tls-'));
  try {
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const args = ['req', '-x509', '-days', '2', ...kind, ...subject, '-keyout', key, '-out', cert];
    await promisify(execFile)('openssl', args);
    return { key: await readFile(key), cert: await readFile(cert) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function listen(
  server: TcpServer,
  cutOff: () => void,
): Promise<{ port: number; close: () => Promise<void> }> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cutOff();
      }),
  };
}
