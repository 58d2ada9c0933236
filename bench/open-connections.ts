import ssh2 from 'ssh2';
import type { FleetServer } from '../scripts/fleet/ssh-fleet.ts';
import { atOnce } from './peers/contestant.ts';

/** SSH connections to servers, open and used by nobody else: nothing is between a command and its server but SSH. */
export interface OpenConnections {
  /** Runs a command on all servers at once. @throws if it fails on one */
  runOnAll(command: string): Promise<void>;
  close(): void;
}

export async function openConnections(
  servers: readonly FleetServer[],
  privateKey: Buffer,
): Promise<OpenConnections> {
  const clients: ssh2.Client[] = [];
  const close = (): void => {
    for (const client of clients) client.end();
  };
  try {
    await atOnce(servers, async ({ host, port }) => {
      const client = new ssh2.Client();
      clients.push(client);
      await new Promise<void>((resolve, reject) => {
        client.once('ready', resolve).once('error', reject);
        client.connect({ host, port, username: 'root', privateKey });
        client.setNoDelay(true);
      });
    });
  } catch (error) {
    close();
    throw error;
  }
  return { runOnAll: (command) => atOnce(clients, (client) => run(client, command)), close };
}

function run(client: ssh2.Client, command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error !== undefined) return reject(error);
      let words = '';
      channel.stderr.on('data', (chunk: Buffer) => {
        words += chunk.toString();
      });
      channel.resume();
      channel.once('close', (code: number | null) => {
        if (code === 0) resolve();
        else reject(new Error(`${command} ended with ${code}: ${words}`));
      });
    });
  });
}
