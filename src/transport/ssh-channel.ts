import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type ssh2 from 'ssh2';
import { AppError } from '../domain/errors.ts';
import type { RemoteScript } from '../remote/script.ts';
import { DEFAULT_MAX_OUTPUT_BYTES, type RunOptions, type RunResult } from './connection.ts';
import { keepTail } from './output-tail.ts';
import { takePidLine } from './pid-line.ts';
import { TERM_GRACE_MS, watchTheClock } from './run-limits.ts';
import { retryPauseMs, type SshBudgets } from './ssh-budgets.ts';

/** After the exit status, what the script left running may hold the channel open this long. */
const OUTPUT_GRACE_MS = 1000;

type Ending = Pick<RunResult, 'exitCode' | 'signal'>;

/**
 * A channel on which a command has been started. How it ends is listened for from the very callback that gives the
 * channel: one packet may bring the consent, the output, the exit status and the close, and ssh2 then emits them all
 * before anything that awaits the channel can run.
 */
export interface OpenChannel {
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
export async function openChannel(
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

/** How a script ended, and whether it began at all: before it does, sudo may refuse. */
export interface FollowedRun extends RunResult {
  readonly hasBegun: boolean;
}

/** Feed a channel, collect what comes, and see it closed. */
export async function followChannel(
  { channel, exited, closed }: OpenChannel,
  script: RemoteScript,
  options: RunOptions & {
    readonly lost: AbortSignal;
    readonly kill: (pid: string, name: 'TERM' | 'KILL') => void;
    /** Called when the script has begun. */
    readonly onBegin: () => void;
  },
): Promise<FollowedRun> {
  const {
    onOutput,
    onStdout,
    maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES,
    timeoutMs,
    signal,
    lost,
    kill,
    onBegin,
  } = options;
  const stdout = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stdout', text }));
  const stderr = keepTail(maxOutputBytes, (text) => onOutput?.({ stream: 'stderr', text }));
  channel.on('data', stdout.push);
  if (onStdout !== undefined) channel.on('data', onStdout);
  const pid = takePidLine(stderr.push, onBegin);
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
      } else resolve({ ...ending, ...outputs, hasBegun: pid.value !== undefined });
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
      // The line with the id may still be under way: what a script says on stdout can overtake it.
      if (pid.value === undefined) {
        channel.stderr.on('data', function endOnceKnown() {
          if (pid.value === undefined) return;
          channel.stderr.off('data', endOnceKnown);
          end('TERM');
        });
      }
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

/**
 * End a script and all that it started, on a channel of its own: sshd passes signals on only for users other than
 * root. It is outside of the budget of channels, which leaves two of a stock sshd's ten for this.
 */
export function killGroup(client: ssh2.Client, command: string): void {
  try {
    client.exec(command, (error, channel) => {
      if (error !== undefined) return;
      channel.on('error', () => undefined);
      channel.resume();
      channel.stderr.resume();
      channel.end();
    });
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
