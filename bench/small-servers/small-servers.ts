import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { runProgram } from '../builds/run-program.ts';

/** Many SSH servers that are folders of this machine. */
export interface SmallServers {
  readonly ports: readonly number[];
  readonly hostKey: string;
  close(): Promise<void>;
}

/** What each server takes for a folder of its own. */
export const PLACE = '/muster-bench-place';

const ready = z.object({ ports: z.array(z.number()) });

/** @param directory gets a folder for each server */
export async function startSmallServers(count: number, directory: string): Promise<SmallServers> {
  const keyFile = join(directory, 'host-key');
  await runProgram(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', keyFile]);
  const publicKey = (await readFile(`${keyFile}.pub`, 'utf8')).trim();
  const entry = fileURLToPath(new URL('small-servers-process.ts', import.meta.url));
  const child = fork(entry, { execArgv: ['--import', 'tsx'] });
  const hostKey = await readFile(keyFile, 'utf8');
  child.send({ count, directory, place: PLACE, hostKey });
  const [message] = await once(child, 'message');
  return {
    ports: ready.parse(message).ports,
    hostKey: publicKey.split(' ').slice(0, 2).join(' '),
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
