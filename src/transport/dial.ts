import { connect, type Socket } from 'node:net';

/** Where a TCP connection goes, and for how long that is waited for. */
export interface Destination {
  readonly host: string;
  readonly port: number;
  readonly signal: AbortSignal;
}

/** A TCP connection from this machine. */
export function dialTcp({ host, port, signal }: Destination): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      // From here on whoever reads it hears of the end; an error alone must not end the process.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}
