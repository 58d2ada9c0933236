import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type ssh2 from 'ssh2';
import { AppError } from '../domain/errors.ts';
import type { RemoteScript } from '../remote/script.ts';
import { makePlaces } from './bounded.ts';
import {
  type Connection,
  DEFAULT_MAX_OUTPUT_BYTES,
  type RunOptions,
  type RunResult,
} from './connection.ts';
import { checkAbsolute } from './local.ts';
import { keepTail } from './output-tail.ts';
import { sshCommand } from './quote.ts';
import { TERM_GRACE_MS, watchTheClock } from './run-limits.ts';
import { retryPauseMs, type SshBudgets } from './ssh-budgets.ts';
import type { Login, SshTarget } from './ssh-login.ts';

/** A connection of the pool: what its users see, and what the pool asks of it. */
export interface PooledConnection extends Connection {
  /** Scripts that run or wait for a channel. */
  readonly inUse: number;
  readonly isOpen: boolean;
  close(): void;
}

/** What the pool is told of a connection. */
export interface ConnectionEvents {
  /** A script has begun to wait for its channel, or has ended. */
  readonly onUse: () => void;
  readonly onClose: () => void;
}

/** After the exit status, what the script left running may hold the channel open this long. */
const OUTPUT_GRACE_MS = 1000;

/** Make a logged-in client a connection that runs scripts, each on one channel. */
export function makeSshConnection(
  target: SshTarget,
  login: Login,
  options: { readonly budgets: SshBudgets; readonly events: ConnectionEvents },
): PooledConnection {
  const { client, hostKey } = login;
  const { budgets, events } = options;
  const channels = makePlaces(budgets.channelsPerConnection);
  const lost = new AbortController();
  let isOpen = true;
  let lastError: Error | undefined;
  client.on('error', (error) => {
    lastError = error;
  });
  client.once('close', () => {
    isOpen = false;
    lost.abort(connectionLost(target, lastError));
    events.onClose();
  });

  const run = async (script: RemoteScript, runOptions: RunOptions): Promise<RunResult> => {
    const command = sshCommand(script);
    const signal =
      runOptions.signal === undefined
        ? lost.signal
        : AbortSignal.any([lost.signal, runOptions.signal]);
    const taking = channels.take(signal);
    events.onUse();
    try {
      const giveBack = await taking;
      try {
        const channel = await openChannel(client, command, { budgets, signal });
        return await followChannel(channel, script, { ...runOptions, lost: lost.signal });
      } finally {
        giveBack();
      }
    } catch (error) {
      // A lost connection shows itself in many ways; it has one name.
      if (lost.signal.aborted && runOptions.signal?.aborted !== true) {
        throw connectionLost(target, lastError);
      }
      if (error instanceof AppError || runOptions.signal?.aborted === true) throw error;
      throw new AppError(
        'server_unreachable',
        `Server ${target.name} opens no channel: ${error instanceof Error ? error.message : String(error)}. Look at MaxSessions in its sshd_config.`,
        { details: { server: target.name }, cause: error, retryable: true },
      );
    } finally {
      events.onUse();
    }
  };

  return {
    hostKey,
    pathOn: checkAbsolute,
    run,
    get inUse() {
      return channels.inUse;
    },
    get isOpen() {
      return isOpen;
    },
    close: () => {
      isOpen = false;
      client.end();
      // A peer that does not answer must not keep the socket.
      setTimeout(() => client.destroy(), 1000).unref();
    },
  };
}

function connectionLost(target: SshTarget, cause: Error | undefined): AppError {
  const { host, port } = target.connection;
  const reason = cause?.message ?? 'the connection was closed';
  return new AppError(
    'server_unreachable',
    `The connection to server ${target.name} (${host}:${port}) was lost: ${reason}. Try again when it is back.`,
    {
      details: { server: target.name, address: `${host}:${port}`, reason },
      cause,
      retryable: true,
    },
  );
}

/** Ask for a channel, again after a pause if sshd refuses: others may use up its `MaxSessions` for the moment. */
async function openChannel(
  client: ssh2.Client,
  command: string,
  options: { readonly budgets: SshBudgets; readonly signal: AbortSignal },
): Promise<ssh2.ClientChannel> {
  const { budgets, signal } = options;
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await new Promise<ssh2.ClientChannel>((resolve, reject) => {
        const abort = (): void => reject(signal.reason);
        signal.addEventListener('abort', abort, { once: true });
        client.exec(command, (error, channel) => {
          signal.removeEventListener('abort', abort);
          if (error !== undefined) reject(error);
          else if (signal.aborted) channel.close();
          else resolve(channel);
        });
      });
    } catch (error) {
      if (signal.aborted || attempt >= budgets.channelAttempts) throw error;
      await sleep(retryPauseMs(attempt, budgets.retryPauseMs, Math.random()), undefined, {
        signal,
      });
    }
  }
}

/** Feed a channel, collect what comes, and see it closed. */
async function followChannel(
  channel: ssh2.ClientChannel,
  script: RemoteScript,
  options: RunOptions & { readonly lost: AbortSignal },
): Promise<RunResult> {
  const { onOutput, maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES, timeoutMs, signal, lost } = options;
  const stdout = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stdout', text }));
  const stderr = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stderr', text }));
  channel.on('data', stdout.push);
  channel.stderr.on('data', stderr.push);

  return await new Promise((resolve, reject) => {
    let failure: unknown;
    let ending: Pick<RunResult, 'exitCode' | 'signal'> | undefined;
    let source: Readable | undefined;
    const timers: NodeJS.Timeout[] = [];
    let settled = false;
    const settle = (): void => {
      if (settled) return;
      settled = true;
      stopClock();
      lost.removeEventListener('abort', settle);
      for (const timer of timers) clearTimeout(timer);
      source?.unpipe(channel);
      source?.destroy();
      channel.on('error', () => undefined);
      channel.close();
      const outputs = { stdout: stdout.end(), stderr: stderr.end() };
      if (failure !== undefined) reject(failure);
      else if (ending === undefined) {
        reject(lost.aborted ? lost.reason : unansweredError(script));
      } else resolve({ ...ending, ...outputs });
    };
    const stop = (reason: unknown): void => {
      if (failure !== undefined) return;
      failure = reason;
      source?.unpipe(channel);
      source?.destroy();
      channel.signal('TERM');
      channel.end();
      timers.push(
        setTimeout(() => {
          channel.signal('KILL');
          settle();
        }, TERM_GRACE_MS),
      );
    };
    const stopClock = watchTheClock(script, { timeoutMs, signal }, stop);
    lost.addEventListener('abort', settle, { once: true });
    channel.once('exit', (code: number | null, name?: string) => {
      ending = { exitCode: code, signal: name?.replace(/^SIG/, '') ?? null };
      timers.push(setTimeout(settle, OUTPUT_GRACE_MS));
    });
    channel.once('close', settle);
    // A script may end without reading all of its input: that is its right.
    channel.on('error', () => undefined);
    if (options.stdin === undefined) channel.end();
    else {
      source = options.stdin();
      source.once('error', stop);
      source.pipe(channel);
    }
  });
}

function unansweredError(script: RemoteScript): AppError {
  return new AppError(
    'server_unreachable',
    `The server closed the channel of ${script.name} without saying how it ended; try again.`,
    { details: { operation: script.name }, retryable: true },
  );
}
