import pg from 'pg';
import { EVENT_CHANNEL } from './events.ts';

/** Wakes those who wait for a job or a deployment, whichever process changed it. */
export interface Listener {
  /** Calls `wake` whenever there may be something new about `id`, and after every loss of the connection. */
  subscribe(id: string, wake: () => void): () => void;
  close(): Promise<void>;
}

const RECONNECT_MS = 1000;

/**
 * Listens on one connection of its own. Waking is a hint, never the truth: who waits reads the rows again,
 * and looks now and then by itself, for a notification can be lost while the connection is down.
 */
export function openListener(databaseUrl: string): Listener {
  const subscribers = new Map<string, Set<() => void>>();
  let client: pg.Client | null = null;
  let closed = false;
  let timer: NodeJS.Timeout | null = null;

  const wakeAll = (): void => {
    for (const set of subscribers.values()) for (const wake of set) wake();
  };
  const reconnect = (): void => {
    if (closed || timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      void connect();
    }, RECONNECT_MS);
    timer.unref();
  };
  const connect = async (): Promise<void> => {
    const next = new pg.Client({ connectionString: databaseUrl, keepAlive: true });
    next.on('error', () => {
      if (client === next) client = null;
      reconnect();
    });
    next.on('end', () => {
      if (client === next) client = null;
      reconnect();
    });
    next.on('notification', ({ payload }) => {
      for (const wake of subscribers.get(payload ?? '') ?? []) wake();
    });
    try {
      await next.connect();
      await next.query(`listen ${EVENT_CHANNEL}`);
      if (closed) return void (await next.end());
      client = next;
      wakeAll();
    } catch {
      await next.end().catch(() => {});
      reconnect();
    }
  };
  const started = connect();

  return {
    subscribe: (id, wake) => {
      const set = subscribers.get(id) ?? new Set();
      subscribers.set(id, set.add(wake));
      return () => {
        set.delete(wake);
        if (set.size === 0) subscribers.delete(id);
      };
    },
    close: async () => {
      closed = true;
      if (timer !== null) clearTimeout(timer);
      await started;
      await client?.end().catch(() => {});
    },
  };
}
