import type { Duplex, Readable } from 'node:stream';
import type { RemoteScript } from '../remote/script.ts';
import type { Destination } from './dial.ts';

/** A way to a server by SSH. */
export interface SshAddress {
  readonly kind: 'ssh';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA…`, or null if none was seen yet. */
  readonly hostKey: string | null;
  /** Whether scripts that ask for root get it by sudo, where the user is not root. Default false. */
  readonly become?: boolean;
  /** The server from which this one is reached; itself perhaps reached from another. */
  readonly jump?: ServerTarget & { readonly connection: SshAddress };
}

/** A server and how it is reached. */
export interface ServerTarget {
  readonly id: string;
  readonly name: string;
  readonly connection: SshAddress | { readonly kind: 'local'; readonly root: string };
}

/** How one script is run. */
export interface RunOptions {
  /**
   * Called when the script has been started, and again if the server then turns out to need it sent once more. Read with
   * back-pressure; destroyed if the script ends first.
   */
  readonly stdin?: () => Readable;
  readonly signal?: AbortSignal;
  readonly timeoutMs: number;
  /**
   * Run it as root if the server's connection says `become`, without input then; else it makes no difference.
   * What is meant to change the server itself asks for this, what works in a clone does not.
   */
  readonly asRoot?: boolean;
  /** Told of every piece of output as it comes, whole characters only. */
  readonly onOutput?: (output: { stream: 'stdout' | 'stderr'; text: string }) => void;
  /** Told of every piece of standard output as it comes, byte for byte. */
  readonly onStdout?: (bytes: Buffer) => void;
  /** How much of each stream is kept, from its end. Default 65,536. */
  readonly maxOutputBytes?: number;
}

/** How a script ended. The outputs are their last `maxOutputBytes`. */
export interface RunResult {
  /** Null if a signal ended it. */
  readonly exitCode: number | null;
  /** Without `SIG`, such as `TERM`; null if it exited. */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A way to one server. Stays usable until the connection is lost or was idle for minutes; so ask
 * `Transport.connect` before every step, which costs nothing while the connection is there.
 */
export interface Connection {
  /** True if a folder of this machine stands for the server. */
  readonly isLocal: boolean;
  /**
   * Whether a script has once begun within 20 ms, so that a round trip takes some 8 ms at most: on such a way bytes cost
   * less than work on the server. As long as it is not known, false.
   */
  readonly isNear: boolean;
  /** The key that the server has shown, `type base64`: to be pinned if none was. Null for a local folder. */
  readonly hostKey: string | null;
  /**
   * What an absolute path of the server is called for scripts: itself, or below the root of a local server.
   * @throws {AppError} `invalid_input` for a path that is not absolute or has `.` or `..` in it
   */
  pathOn(path: string): string;
  /**
   * Run a script to its end. An exit code other than 0 is a result, not an error.
   * @throws {AppError} `server_unreachable` if the connection is lost, `command_timeout`, `become_refused` if the
   *   server gives no root to who asks for it; the signal's reason
   */
  run(script: RemoteScript, options: RunOptions): Promise<RunResult>;
  /**
   * A TCP connection from the server to what it reaches. It ends when this connection does.
   * @throws what says why there is none, for people; the signal's reason
   */
  forward(to: Destination): Promise<Duplex>;
}

/** What goes on over SSH in this process, for whoever watches it. */
export interface TransportStatistics {
  readonly openConnections: number;
  readonly loginsUnderWay: number;
  /** Scripts that run, or wait for a channel. */
  readonly channelsInUse: number;
  /** Logins that were refused or reset and tried again, and those that failed for good, since the start. */
  readonly loginsRetried: number;
  readonly loginsFailed: number;
}

/** The ways to all servers. */
export interface Transport {
  /**
   * A connection to the server, new or shared.
   * @throws {AppError} `server_unreachable` (retryable), `server_login_refused`, `host_key_changed`, of the server
   *   or of one that it is reached through
   */
  connect(target: ServerTarget, options?: { readonly signal?: AbortSignal }): Promise<Connection>;
  statistics(): TransportStatistics;
  /** End every connection; what still runs is rejected with `server_unreachable`. */
  close(): Promise<void>;
}

/** What `RunOptions.maxOutputBytes` is when it is not given. */
export const DEFAULT_MAX_OUTPUT_BYTES = 65_536;
