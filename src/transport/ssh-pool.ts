import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import { AppError } from '../domain/errors.ts';
import { getOrAdd } from '../domain/get-or-add.ts';
import { makePlaces, type Places, unlessAborted } from './bounded.ts';
import type { Connection, TransportStatistics } from './connection.ts';
import { type KeptTexts, makeKeptTexts } from './kept-texts.ts';
import { makeSshConnection, type PooledConnection } from './ssh.ts';
import type { SshBudgets } from './ssh-budgets.ts';
import { type Login, logIn, type SshTarget } from './ssh-login.ts';

/**
 * One connection per server and way of reaching it. Of many that ask at once, the first opens it and the others
 * wait for that. A lost or idle connection is forgotten; the next one that asks opens another. A server that is
 * reached from another one has its connection inside of that one's, and loses it with that.
 */
export class SshPool {
  readonly #budgets: SshBudgets;
  readonly #entries = new Map<string, Entry>();
  readonly #logins = new Map<string, Places>();
  /** Connections end; what a server keeps stays. */
  readonly #keptTexts = new Map<string, KeptTexts>();
  readonly #closing = new AbortController();
  readonly #open = new Set<PooledConnection>();
  /** What may be closed, the one that is idle longest first. */
  readonly #idle = new Map<PooledConnection, () => void>();
  readonly #counts = { loginsUnderWay: 0, loginsRetried: 0, loginsFailed: 0 };

  constructor(budgets: SshBudgets) {
    this.#budgets = budgets;
    // Every login under way listens; their number is bounded by the number of servers.
    setMaxListeners(0, this.#closing.signal);
  }

  /** See `Transport.connect`. An aborted signal ends the wait of this caller, not the login that others wait for. */
  async connect(target: SshTarget, signal?: AbortSignal): Promise<Connection> {
    return await this.#connect(target, signal);
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

  async #connect(target: SshTarget, signal?: AbortSignal): Promise<PooledConnection> {
    if (this.#closing.signal.aborted) throw closedError();
    const key = keyOf(target);
    const entry = this.#entries.get(key) ?? this.#addEntry(key, target);
    const connection = await unlessAborted(entry.opening, signal);
    entry.touch();
    return connection;
  }

  #addEntry(key: string, target: SshTarget): Entry {
    const keys = [key];
    const forget = (): void => {
      for (const one of keys) if (this.#entries.get(one) === entry) this.#entries.delete(one);
    };
    const entry: Entry = {
      opening: this.#logIn(target).then((login) => {
        const { connection, touch } = this.#watch(target, login, forget);
        entry.touch = touch;
        // Whoever pins the key that was shown here and asks again needs no login for that.
        const pinned = keyOf({
          ...target,
          connection: { ...target.connection, hostKey: login.hostKey },
        });
        if (connection.isOpen && !this.#entries.has(pinned)) {
          keys.push(pinned);
          this.#entries.set(pinned, entry);
        }
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
    const { jump, host, port } = target.connection;
    // The way there first: who waits for it must not keep others from logging in.
    if (jump !== undefined) await this.#connect(jump, signal);
    const openSocket =
      jump === undefined
        ? undefined
        : async (limit: AbortSignal): Promise<Duplex> =>
            await (await this.#connect(jump, limit)).forward({ host, port, signal: limit });
    const leave = await this.#takePlaces(target);
    this.#counts.loginsUnderWay += 1;
    const onRetry = (): void => {
      this.#counts.loginsRetried += 1;
    };
    try {
      return await logIn(target, { budgets: this.#budgets, signal, onRetry, openSocket });
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
    const stopClock = (): void => {
      clearTimeout(idle);
      this.#idle.delete(connection);
    };
    const end = (): void => {
      stopClock();
      forget();
      connection.close();
    };
    const touch = (): void => {
      stopClock();
      if (connection.inUse > 0 || !connection.isOpen) return;
      idle = setTimeout(end, this.#budgets.idleMs).unref();
      this.#idle.set(connection, end);
      const [longest] = this.#idle.values();
      if (this.#idle.size > this.#budgets.maxIdle) longest?.();
    };
    const onClose = (): void => {
      stopClock();
      this.#open.delete(connection);
      forget();
    };
    const connection = makeSshConnection(target, login, {
      budgets: this.#budgets,
      events: { onUse: touch, onClose },
      keptTexts: getOrAdd(this.#keptTexts, keyOf(target), makeKeptTexts),
    });
    this.#open.add(connection);
    touch();
    if (this.#closing.signal.aborted) connection.close();
    return { connection, touch };
  }

  /** Logins are bounded on the host itself and on the one they go through. */
  async #takePlaces(target: SshTarget): Promise<() => void> {
    const { jump, host, port } = target.connection;
    const { loginsPerHost, loginsPerJump } = this.#budgets;
    const { signal } = this.#closing;
    const via = jump === undefined ? '' : keyOf(jump);
    const onJump =
      jump === undefined
        ? undefined
        : await this.#placesOf(`through ${via}`, loginsPerJump).take(signal);
    try {
      const onHost = await this.#placesOf(`${via} ${host}:${port}`, loginsPerHost).take(signal);
      return () => {
        onHost();
        onJump?.();
      };
    } catch (error) {
      onJump?.();
      throw error;
    }
  }

  #placesOf(name: string, count: number): Places {
    let places = this.#logins.get(name);
    if (places === undefined) {
      places = makePlaces(count);
      this.#logins.set(name, places);
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
  const { host, port, user, privateKey, hostKey, become = false, jump } = target.connection;
  const secret = createHash('sha256').update(privateKey).digest('base64');
  const via = jump === undefined ? null : keyOf(jump);
  return JSON.stringify([target.id, host, port, user, hostKey, secret, become, via]);
}

function closedError(): AppError {
  return new AppError('service_unavailable', 'Muster is shutting down; try again when it is up.', {
    retryable: true,
  });
}
