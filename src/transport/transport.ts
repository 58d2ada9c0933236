import type { Connection, ServerTarget, Transport } from './connection.ts';
import { connectLocal } from './local.ts';
import { DEFAULT_SSH_BUDGETS, type SshBudgets } from './ssh-budgets.ts';
import { SshPool } from './ssh-pool.ts';

/** How the transport is set up. Every budget has a default that is safe with a stock sshd. */
export interface TransportOptions {
  readonly ssh?: Partial<SshBudgets>;
  /** The PATH of scripts on local servers. Default where a system has its programs. */
  readonly searchPath?: string;
}

const SYSTEM_SEARCH_PATH = '/usr/local/bin:/usr/bin:/bin';

/** The transport to all kinds of servers. The caller owns it and closes it. */
export function createTransport(options: TransportOptions = {}): Transport {
  const { searchPath = SYSTEM_SEARCH_PATH } = options;
  const pool = new SshPool({ ...DEFAULT_SSH_BUDGETS, ...options.ssh });
  return {
    connect: async (target: ServerTarget, { signal } = {}): Promise<Connection> => {
      signal?.throwIfAborted();
      const { connection, id, name } = target;
      switch (connection.kind) {
        case 'ssh':
          return await pool.connect({ id, name, connection }, signal);
        case 'local':
          return await connectLocal({ name, root: connection.root, searchPath });
      }
    },
    statistics: () => pool.statistics(),
    close: async () => await pool.close(),
  };
}
