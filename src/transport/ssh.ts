import { setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import { AppError } from '../domain/errors.ts';
import type { RemoteScript } from '../remote/script.ts';
import { makePlaces, unlessAborted } from './bounded.ts';
import type { Connection, RunOptions, RunResult } from './connection.ts';
import type { Destination } from './dial.ts';
import type { KeptTexts } from './kept-texts.ts';
import { checkAbsolute } from './local.ts';
import { killCommand, sshCommand, UNKNOWN_NAME } from './quote.ts';
import type { SshBudgets } from './ssh-budgets.ts';
import { type FollowedRun, followChannel, killGroup, openChannel } from './ssh-channel.ts';
import type { Login, SshTarget } from './ssh-login.ts';

/** A connection of the pool: what its users see, and what the pool asks of it. */
export interface PooledConnection extends Connection {
  /** Scripts that run or wait for a channel, and connections that go through this one. */
  readonly inUse: number;
  readonly isOpen: boolean;
  close(): void;
}

/** What the pool is told of a connection. */
export interface ConnectionEvents {
  /** `inUse` has changed. */
  readonly onUse: () => void;
  readonly onClose: () => void;
}

/** Make a logged-in client a connection that runs scripts, each on one channel. */
export function makeSshConnection(
  target: SshTarget,
  login: Login,
  options: {
    readonly budgets: SshBudgets;
    readonly events: ConnectionEvents;
    readonly keptTexts: KeptTexts;
  },
): PooledConnection {
  const { client, hostKey } = login;
  const { budgets, events, keptTexts } = options;
  const channels = makePlaces(budgets.channelsPerConnection);
  const lost = new AbortController();
  // Every running script listens; their number is bounded by the channels.
  setMaxListeners(0, lost.signal);
  const forwarded = new Set<Duplex>();
  let isOpen = true;
  /** Null until a script has begun. */
  let isNear: boolean | null = null;
  let lastError: Error | undefined;
  client.on('error', (error) => {
    lastError = error;
  });
  const lose = (): void => {
    if (lost.signal.aborted) return;
    isOpen = false;
    lost.abort(connectionLost(target, lastError));
    for (const stream of forwarded) stream.destroy();
    events.onClose();
  };
  // Through a jump host the end of the server's side may be all that comes.
  client.once('end', lose);
  client.once('close', lose);

  const follow = async (
    script: RemoteScript,
    runOptions: RunOptions,
    { signal, text }: { signal: AbortSignal; text?: 'keep' | 'name' | undefined },
  ): Promise<FollowedRun> => {
    const { asRoot = false } = runOptions;
    const command = sshCommand(script, { asRoot, text });
    const askedAt = performance.now();
    const channel = await openChannel(client, command, { budgets, signal });
    const kill = (pid: string, name: 'TERM' | 'KILL'): void =>
      killGroup(client, killCommand(pid, name, asRoot));
    const onBegin = (): void => {
      isNear = isNear === true || performance.now() - askedAt <= budgets.nearMs;
    };
    return followChannel(channel, script, { ...runOptions, lost: lost.signal, kill, onBegin });
  };

  /** Sends a script by its name if the server is far and keeps it, else with its text. */
  const send = async (
    script: RemoteScript,
    runOptions: RunOptions,
    signal: AbortSignal,
  ): Promise<FollowedRun> => {
    const isFar = isNear === false && runOptions.asRoot !== true;
    const text = isFar ? keptTexts.formFor(script) : undefined;
    if (text === 'name') {
      const result = await follow(script, runOptions, { signal, text });
      const isKnown = result.exitCode !== UNKNOWN_NAME;
      keptTexts.called(script, isKnown);
      return isKnown ? result : send(script, runOptions, signal);
    }
    const result = await follow(script, runOptions, { signal, text });
    if (text === 'keep') keptTexts.add(script);
    return result;
  };

  const run = async (script: RemoteScript, runOptions: RunOptions): Promise<RunResult> => {
    const asRoot = runOptions.asRoot === true && target.connection.become === true;
    const signal =
      runOptions.signal === undefined
        ? lost.signal
        : AbortSignal.any([lost.signal, runOptions.signal]);
    const taking = channels.take(signal);
    events.onUse();
    try {
      const giveBack = await taking;
      try {
        const { hasBegun, ...result } = await send(script, { ...runOptions, asRoot }, signal);
        if (asRoot && !hasBegun) throw becomeRefused(target, result);
        return result;
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

  const forward = async ({ host, port, signal }: Destination): Promise<Duplex> => {
    const opening = new Promise<Duplex>((resolve, reject) => {
      client.forwardOut('127.0.0.1', 0, host, port, (error, stream) => {
        if (error !== undefined) return reject(error);
        if (signal.aborted || !isOpen) stream.destroy();
        forwarded.add(stream);
        stream.once('close', () => {
          forwarded.delete(stream);
          events.onUse();
        });
        events.onUse();
        resolve(stream);
      });
    });
    return await unlessAborted(opening, AbortSignal.any([signal, lost.signal]));
  };

  return {
    isLocal: false,
    get isNear() {
      return isNear === true;
    },
    hostKey,
    pathOn: checkAbsolute,
    run,
    forward,
    get inUse() {
      return channels.inUse + forwarded.size;
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

function becomeRefused(target: SshTarget, { stderr, exitCode }: RunResult): AppError {
  const { user } = target.connection;
  const reason = stderr.trim().split('\n').at(-1) || `sudo ended with exit code ${exitCode}`;
  return new AppError(
    'become_refused',
    `User ${user} of server ${target.name} cannot become root without a password: ${reason}. Give it \`${user} ALL=(ALL) NOPASSWD: ALL\` in a file of /etc/sudoers.d there, or set \`become\` of the server to false.`,
    { details: { server: target.name, user, reason } },
  );
}
