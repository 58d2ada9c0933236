/** What the SSH transport may use of a server, and how long it waits. */
export interface SshBudgets {
  /** Channels open at once on one connection. Stock `MaxSessions` is 10. */
  readonly channelsPerConnection: number;
  /** Times a channel is asked for, in all, before a refusal counts. */
  readonly channelAttempts: number;
  /** Logins under way at once per host. Stock `MaxStartups 10:30:100` begins to drop at 10. */
  readonly loginsPerHost: number;
  /** Logins under way at once through one jump host. */
  readonly loginsPerJump: number;
  /** Times a login is tried, in all, when it is refused or reset before the key is asked for. */
  readonly loginAttempts: number;
  /** For one attempt, from the TCP connection to the accepted key. */
  readonly loginTimeoutMs: number;
  /** The first pause between attempts; it doubles, with jitter, up to 20 times this. */
  readonly retryPauseMs: number;
  /** A connection without a channel is closed after this time. */
  readonly idleMs: number;
  /** Connections that may be kept without a channel, in all; beyond that the one idle longest is closed. */
  readonly maxIdle: number;
  /** See `Connection.isNear`; whoever is not is asked to keep the texts of scripts (`kept-texts.ts`). */
  readonly nearMs: number;
  /** A silent connection is asked for a sign of life this often; three unanswered ones end it. */
  readonly keepaliveMs: number;
}

/** Safe with a stock sshd. */
export const DEFAULT_SSH_BUDGETS: SshBudgets = {
  channelsPerConnection: 8,
  channelAttempts: 6,
  loginsPerHost: 5,
  loginsPerJump: 10,
  loginAttempts: 4,
  loginTimeoutMs: 20_000,
  retryPauseMs: 200,
  idleMs: 180_000,
  maxIdle: 1024,
  // It holds two round trips, for the channel and the command, and the start of a shell.
  nearMs: 20,
  keepaliveMs: 15_000,
};

/** The pause before an attempt (1 is the first retry): doubling, between half and all of it by `random` (0 to 1). */
export function retryPauseMs(attempt: number, firstMs: number, random: number): number {
  return Math.min(firstMs * 2 ** (attempt - 1), firstMs * 20) * (0.5 + random / 2);
}
