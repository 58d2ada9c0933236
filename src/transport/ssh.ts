import { setMaxListeners } from 'node:events';
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
import { PID_LINE_PATTERN, sshCommand } from './quote.ts';
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
  // Every running script listens; their number is bounded by the channels.
  setMaxListeners(0, lost.signal);
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
        const kill = (pid: string, name: 'TERM' | 'KILL'): void => killGroup(client, pid, name);
        return await followChannel(channel, script, { ...runOptions, lost: lost.signal, kill });
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
    isLocal: false,
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

type Ending = Pick<RunResult, 'exitCode' | 'signal'>;

/**
 * A channel on which a command has been started. How it ends is listened for from the very callback that gives the
 * channel: one packet may bring the consent, the output, the exit status and the close, and ssh2 then emits them all
 * before anything that awaits the channel can run.
 */
interface OpenChannel {
  readonly channel: ssh2.ClientChannel;
  readonly exited: Promise<Ending>;
  readonly closed: Promise<void>;
}

function listenToChannel(channel: ssh2.ClientChannel): OpenChannel {
  return {
    channel,
    exited: new Promise((resolve) => {
      channel.once('exit', (code: number | null, name?: string) => {
        resolve({ exitCode: code, signal: name?.replace(/^SIG/, '') ?? null });
      });
    }),
    closed: new Promise((resolve) => {
      channel.once('close', () => resolve());
    }),
  };
}

/** Ask for a channel, again after a pause if sshd refuses: others may use up its `MaxSessions` for the moment. */
async function openChannel(
  client: ssh2.Client,
  command: string,
  options: { readonly budgets: SshBudgets; readonly signal: AbortSignal },
): Promise<OpenChannel> {
  const { budgets, signal } = options;
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await new Promise<OpenChannel>((resolve, reject) => {
        const abort = (): void => reject(signal.reason);
        signal.addEventListener('abort', abort, { once: true });
        client.exec(command, (error, channel) => {
          signal.removeEventListener('abort', abort);
          if (error !== undefined) reject(error);
          else if (signal.aborted) channel.close();
          else resolve(listenToChannel(channel));
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
  { channel, exited, closed }: OpenChannel,
  script: RemoteScript,
  options: RunOptions & {
    readonly lost: AbortSignal;
    readonly kill: (pid: string, name: 'TERM' | 'KILL') => void;
  },
): Promise<RunResult> {
  const {
    onOutput,
    maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES,
    timeoutMs,
    signal,
    lost,
    kill,
  } = options;
  const stdout = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stdout', text }));
  const stderr = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stderr', text }));
  channel.on('data', stdout.push);
  const pid = takePidLine(stderr.push);
  channel.stderr.on('data', pid.push);

  return await new Promise((resolve, reject) => {
    let failure: unknown;
    let ending: Ending | undefined;
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
      pid.end();
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
      const end = (name: 'TERM' | 'KILL'): void => {
        if (pid.value === undefined) channel.signal(name);
        else kill(pid.value, name);
      };
      end('TERM');
      timers.push(
        setTimeout(() => end('KILL'), TERM_GRACE_MS),
        setTimeout(settle, TERM_GRACE_MS + OUTPUT_GRACE_MS),
      );
    };
    const stopClock = watchTheClock(script, { timeoutMs, signal }, stop);
    lost.addEventListener('abort', settle, { once: true });
    void exited.then((value) => {
      ending = value;
      if (!settled) timers.push(setTimeout(settle, OUTPUT_GRACE_MS));
    });
    void closed.then(settle);
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

/** Before the pid line this much of stderr is waited for; a login shell's own start-up may write before it. */
const MAX_BEFORE_PID_LINE = 8192;

/** Takes the line with the script's process id out of its stderr, and passes everything else on. */
function takePidLine(pass: (chunk: Buffer) => void): {
  readonly value: string | undefined;
  push(chunk: Buffer): void;
  end(): void;
} {
  let held: Buffer | undefined = Buffer.alloc(0);
  let value: string | undefined;
  const release = (rest: Buffer): void => {
    held = undefined;
    if (rest.length > 0) pass(rest);
  };
  return {
    get value() {
      return value;
    },
    push: (chunk) => {
      if (held === undefined) {
        pass(chunk);
        return;
      }
      held = Buffer.concat([held, chunk]);
      const text = held.toString('latin1');
      const found = PID_LINE_PATTERN.exec(text);
      if (found !== null) {
        value = found[1];
        const { length } = found[0];
        release(
          Buffer.from(text.slice(0, found.index) + text.slice(found.index + length), 'latin1'),
        );
      } else if (held.length > MAX_BEFORE_PID_LINE) release(held);
    },
    end: () => {
      if (held !== undefined) release(held);
    },
  };
}

/**
 * End a script and all that it started, on a channel of its own: sshd passes signals on only for users other than
 * root. It is outside of the budget of channels, which leaves two of a stock sshd's ten for this.
 */
function killGroup(client: ssh2.Client, pid: string, name: 'TERM' | 'KILL'): void {
  try {
    client.exec(
      `exec sh -c 'kill -s ${name} -- -${pid} || kill -s ${name} ${pid}'`,
      (error, channel) => {
        if (error !== undefined) return;
        channel.on('error', () => undefined);
        channel.resume();
        channel.stderr.resume();
        channel.end();
      },
    );
  } catch {
    // The connection has gone; the caller is told of that.
  }
}

function unansweredError(script: RemoteScript): AppError {
  return new AppError(
    'server_unreachable',
    `The server closed the channel of ${script.name} without saying how it ended; try again.`,
    { details: { operation: script.name }, retryable: true },
  );
}
