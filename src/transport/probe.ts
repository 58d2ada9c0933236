import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { isWantedStatus, type NetworkCheck } from '../domain/health-check.ts';

/** How much of a body is looked through. */
const MAX_BODY_BYTES = 65_536;

/** Opens a TCP connection to where a check looks. */
export type Dial = (port: number, signal: AbortSignal) => Promise<Duplex>;

/**
 * Looks once whether a port answers as a check wants it.
 * @returns null if it does, else what was seen instead
 */
export async function probe(
  check: NetworkCheck,
  dial: Dial,
  signal: AbortSignal,
): Promise<string | null> {
  let socket: Duplex;
  try {
    socket = await dial(check.port, signal);
  } catch (error) {
    signal.throwIfAborted();
    return `port ${check.port} takes no connection (${reasonOf(error)})`;
  }
  try {
    return check.type === 'tcp' ? null : await ask(check, socket, signal);
  } catch (error) {
    signal.throwIfAborted();
    return `no answer (${reasonOf(error)})`;
  } finally {
    socket.destroy();
  }
}

async function ask(
  check: NetworkCheck & { type: 'http' },
  socket: Duplex,
  signal: AbortSignal,
): Promise<string | null> {
  const [response] = await send(check, socket, signal);
  const { statusCode = 0 } = response;
  if (!isWantedStatus(check, statusCode)) return `status ${statusCode}`;
  if (check.body === undefined) return null;
  const body = await readStart(response);
  return body.includes(check.body)
    ? null
    : `status ${statusCode}, but \`${check.body}\` is not in the body`;
}

/** Without an agent, so that a connection serves one look alone, as a new client's would. */
async function send(
  check: NetworkCheck & { type: 'http' },
  socket: Duplex,
  signal: AbortSignal,
): Promise<[IncomingMessage]> {
  const host = check.host ?? 'localhost';
  const options = {
    path: check.path,
    headers: { host, 'user-agent': 'Muster health check', connection: 'close' },
    signal,
  };
  const sent: ClientRequest =
    check.scheme === 'http'
      ? httpRequest({ ...options, createConnection: () => socket })
      : httpsRequest({
          ...options,
          createConnection: () =>
            tlsConnect({
              socket,
              servername: host.replace(/:\d+$/, ''),
              rejectUnauthorized: check.verify ?? check.host !== undefined,
            }),
        });
  // Also an error that comes after the answer has its listener.
  sent.on('error', () => undefined);
  sent.end();
  return (await once(sent, 'response', { signal })) as [IncomingMessage];
}

async function readStart(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= MAX_BODY_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString('utf8');
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}
