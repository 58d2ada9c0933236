import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { AppError } from '../domain/errors.ts';
import { makePlaces, type Places, unlessAborted } from './bounded.ts';
import type { Connection, TransportStatistics } from './connection.ts';
import { makeSshConnection, type PooledConnection } from './ssh.ts';
import type { SshBudgets } from './ssh-budgets.ts';
import { type Login, logIn, type SshTarget } from './ssh-login.ts';

/**
 * One connection per server and way of reaching it. Of many that ask at once, the first opens it and the others
 * wait for that. A lost or idle connection is forgotten; the next one that asks opens another.
 */
export class SshPool {
  readonly #budgets: SshBudgets;
  readonly #entries = new Map<string, Entry>();
  readonly #logins = new Map<string, Places>();
  readonly #closing = new AbortController();
  readonly #open = new Set<PooledConnection>();
  readonly #counts = { loginsUnderWay: 0, loginsRetried: 0, loginsFailed: 0 };

  constructor(budgets: SshBudgets) {
    this.#budgets = budgets;
    // Every login under way listens; their number is bounded by the number of servers.
    setMaxListeners(0, this.#closing.signal);
  }

  /** See `Transport.connect`. An aborted signal ends the wait of this caller, not the login that others wait for. */
  async connect(target: SshTarget, signal?: AbortSignal): Promise<Connection> {
    if (this.#closing.signal.aborted) throw closedError();
    const key = keyOf(target);
    const entry = this.#entries.get(key) ?? this.#addEntry(key, target);
    const connection = await unlessAborted(entry.opening, signal);
    entry.touch();
    return connection;
  }

  /** See `Transport.statistics`. */
  statistics(): TransportStatistics {
    const inUse = [...this.#open].reduce((sum, connection) => sum + connection.inUse, 0);
    return { ...this.#counts, openConnections: this.#open.size, channelsInUse: inUse };
  }

  /** End all connections and all logins under way. */
  async close(): Promise<void> {
    this.#closing.abort(closedError());
    for (const connection of this.#open) connection.close();
    await Promise.allSettled([...this.#entries.values()].map((entry) => entry.opening));
    this.#entries.clear();
  }

  #addEntry(key: string, target: SshTarget): Entry {
    const forget = (): void => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    };
    const entry: Entry = {
      opening: this.#logIn(target).then((login) => {
        const { connection, touch } = this.#watch(target, login, forget);
        entry.touch = touch;
        return connection;
      }),
      touch: () => undefined,
    };
    this.#entries.set(key, entry);
    entry.opening.catch(forget);
    return entry;
  }

  async #logIn(target: SshTarget): Promise<Login> {
    const { signal } = this.#closing;
    const leave = await this.#loginsOf(target).take(signal);
    this.#counts.loginsUnderWay += 1;
    const onRetry = (): void => {
      this.#counts.loginsRetried += 1;
    };
    try {
      return await logIn(target, this.#budgets, { signal, onRetry });
    } catch (error) {
      this.#counts.loginsFailed += 1;
      throw error;
    } finally {
      this.#counts.loginsUnderWay -= 1;
      leave();
    }
  }

  /** Close the connection when it has been idle for long; `touch` begins that time anew. */
  #watch(
    target: SshTarget,
    login: Login,
    forget: () => void,
  ): { connection: PooledConnection; touch: () => void } {
    let idle: NodeJS.Timeout | undefined;
    const touch = (): void => {
      clearTimeout(idle);
      if (connection.inUse > 0 || !connection.isOpen) return;
      idle = setTimeout(() => {
        forget();
        connection.close();
      }, this.#budgets.idleMs).unref();
    };
    const onClose = (): void => {
      clearTimeout(idle);
      this.#open.delete(connection);
      forget();
    };
    const connection = makeSshConnection(target, login, {
      budgets: this.#budgets,
      events: { onUse: touch, onClose },
    });
    this.#open.add(connection);
    touch();
    if (this.#closing.signal.aborted) connection.close();
    return { connection, touch };
  }

  #loginsOf(target: SshTarget): Places {
    const host = `${target.connection.host}:${target.connection.port}`;
    let places = this.#logins.get(host);
    if (places === undefined) {
      places = makePlaces(this.#budgets.loginsPerHost);
      this.#logins.set(host, places);
    }
    return places;
  }
}

interface Entry {
  readonly opening: Promise<PooledConnection>;
  touch: () => void;
}

/** Everything that makes a connection another one. The private key only as its hash. */
function keyOf(target: SshTarget): string {
  const { host, port, user, privateKey, hostKey } = target.connection;
  const secret = createHash('sha256').update(privateKey).digest('base64');
  return JSON.stringify([target.id, host, port, user, hostKey, secret]);
}

function closedError(): AppError {
  return new AppError('service_unavailable', 'Muster is shutting down; try again when it is up.', {
    retryable: true,
  });
}
