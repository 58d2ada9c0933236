import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { z } from 'zod';

// `fork(small-servers-process.ts)`: many SSH servers in one process. It is told of them in one message, answers with
// their ports, and ends with whoever started it. What a command says of PLACE is a folder of that server's own.

const setup = z.object({
  count: z.number(),
  directory: z.string(),
  place: z.string(),
  hostKey: z.string(),
});

process.on('disconnect', () => process.exit());
process.once('message', (message) => {
  void serve(setup.parse(message));
});

async function serve({ count, directory, place, hostKey }: z.infer<typeof setup>): Promise<void> {
  const ports: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const folder = join(directory, String(i));
    await mkdir(folder);
    const server = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
      client.on('error', () => undefined);
      // Whoever can reach 127.0.0.1 is who started it; these servers have nothing to protect.
      client.on('authentication', (context) => context.accept());
      client.on('session', (accept) => {
        accept().on('exec', (acceptExec, _reject, { command }) => {
          run(acceptExec(), command.replaceAll(place, folder));
        });
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('A server has no port.');
    ports.push(address.port);
  }
  process.send?.({ ports });
}

function run(channel: ssh2.ServerChannel, command: string): void {
  const child = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  channel.pipe(child.stdin);
  child.stdin.on('error', () => undefined);
  channel.on('error', () => undefined);
  child.stdout.pipe(channel, { end: false });
  child.stderr.pipe(channel.stderr, { end: false });
  child.once('error', () => channel.close());
  child.once('close', (code) => {
    channel.exit(code ?? 1);
    channel.end();
  });
}
