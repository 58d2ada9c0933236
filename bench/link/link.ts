import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** A slow way to servers: what goes over it takes its time, and is counted. */
export interface Link {
  /** Opens a way to a port of this machine. All ways of one server share its bandwidth. @returns the port to connect to */
  open(server: string, port: number): Promise<number>;
  /** Bytes so far, over all servers. */
  bytes(): Promise<{ readonly toServers: number; readonly fromServers: number }>;
  close(): Promise<void>;
}

export interface LinkSpeed {
  readonly roundTripMs: number;
  /** In each direction. */
  readonly megabitsPerSecond: number;
}

const answer = z.object({ number: z.number(), answer: z.array(z.number()) });

/**
 * A process of its own that passes connections on, slowly. It stands in for `tc netem`, which few kernels of virtual
 * machines have, and which would slow down everything else on the loopback interface, too.
 */
export function openLink(speed: LinkSpeed): Link {
  const entry = fileURLToPath(new URL('link-process.ts', import.meta.url));
  const child = fork(entry, [JSON.stringify(speed)], { execArgv: ['--import', 'tsx'] });
  const waiting = new Map<number, (answer: readonly number[]) => void>();
  child.on('message', (message) => {
    const told = answer.parse(message);
    waiting.get(told.number)?.(told.answer);
    waiting.delete(told.number);
  });
  let asked = 0;
  const ask = (question: object): Promise<readonly number[]> =>
    new Promise((resolve, reject) => {
      asked += 1;
      waiting.set(asked, resolve);
      child.once('exit', () => reject(new Error('The slow link has ended.')));
      child.send({ number: asked, ...question });
    });
  child.setMaxListeners(0);
  return {
    open: async (server, port) => (await ask({ server, port }))[0] ?? 0,
    bytes: async () => {
      const [toServers = 0, fromServers = 0] = await ask({});
      return { toServers, fromServers };
    },
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
