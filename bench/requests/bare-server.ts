import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Statement } from './statements.ts';

/** A route that does the same SQL as one of Muster's, and nothing else. */
export interface BareRoute {
  readonly method: 'GET' | 'PATCH';
  readonly url: string;
  readonly statements: readonly (Statement & { readonly fresh: readonly number[] })[];
  readonly body: unknown;
}

const ready = z.object({ url: z.string() });

/** Starts it in a process of its own. */
export async function startBareServer(setup: {
  readonly databaseUrl: string;
  readonly connections: number;
  readonly routes: readonly BareRoute[];
}): Promise<{ readonly url: string; close(): Promise<void> }> {
  const entry = fileURLToPath(new URL('bare-process.ts', import.meta.url));
  const child = fork(entry, { execArgv: ['--import', 'tsx'] });
  child.send(setup);
  const [message] = await once(child, 'message');
  return {
    url: ready.parse(message).url,
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
