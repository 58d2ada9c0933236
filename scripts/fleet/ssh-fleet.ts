import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { type EndedProcess, runToEnd } from './run-to-end.ts';
import { SshServer } from './ssh-server.ts';

/** How to reach one server of a fleet, as user root with one of the authorized keys. */
export interface FleetServer {
  readonly name: string;
  readonly host: '127.0.0.1';
  readonly port: number;
  /** The public host key, `ssh-ed25519 AAAA…`; another one after `rotateHostKey`. */
  readonly hostKey: string;
  /** Process 1 of the server, as this machine counts. */
  readonly pid: number;
}

/** What a fleet is made of. */
export interface SshFleetOptions {
  /** Host names, all different; each becomes one server. */
  readonly names: readonly string[];
  /** Where host keys are kept; the caller removes it after `close`. */
  readonly directory: string;
  /** Lines of `authorized_keys` for root on every server. */
  readonly authorizedKeys: readonly string[];
  /** sshd's `MaxStartups`. Default `10:30:100`, the stock value. */
  readonly maxStartups?: string;
  /** sshd's `MaxSessions` per connection. Default 10, the stock value. */
  readonly maxSessions?: number;
  /** Host keys beside the ed25519 one. Default none. */
  readonly extraHostKeyTypes?: readonly ('rsa' | 'ecdsa')[];
  /** Further `Keyword=value` lines of sshd_config. */
  readonly sshdOptions?: readonly string[];
}

/** A number of real servers on this one machine. Everything ends with `close`, or with this process. */
export interface SshFleet {
  readonly servers: readonly FleetServer[];
  /** Run an argv, or the text of a shell script, on a server without SSH. */
  inspect(name: string, command: readonly string[] | string): Promise<EndedProcess>;
  /** End sshd and all else that runs on a server, or on every server; files stay. */
  stop(name?: string): Promise<void>;
  /** Start a stopped server again on its port and with its key. */
  start(name: string): Promise<void>;
  /** Restart a server with another host key. */
  rotateHostKey(name: string): Promise<void>;
  close(): Promise<void>;
}

/** Servers that are being started at once; more gain nothing on a small machine. */
const STARTS_AT_ONCE = 8;

/**
 * Start one real sshd per name, each in its own mount, UTS and PID namespaces with its own /opt, /srv, /var/www,
 * /root and /home, so that `/opt/app` on web01 is not `/opt/app` on web02. Needs what `sshFleetAvailable` checks.
 * @throws with sshd's words if one of them does not start; the others are then ended.
 */
export async function startSshFleet(options: SshFleetOptions): Promise<SshFleet> {
  const servers = new Map<string, SshServer>();
  const close = async (): Promise<void> => {
    await Promise.all([...servers.values()].map((server) => server.close()));
  };
  const find = (name: string): SshServer => {
    const server = servers.get(name);
    if (server === undefined) throw new Error(`The fleet has no server ${name}.`);
    return server;
  };
  const waiting = [...options.names];
  const startSome = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      servers.set(name, await SshServer.start(serverOptions(name, options)));
    }
  };
  const started = await Promise.allSettled(Array.from({ length: STARTS_AT_ONCE }, startSome));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await close();
    throw failed.reason;
  }
  return {
    get servers() {
      return options.names.map((name) => describe(find(name)));
    },
    inspect: async (name, command) => await find(name).inspect(command),
    stop: async (name) => {
      const stopped = name === undefined ? [...servers.values()] : [find(name)];
      await Promise.all(stopped.map((server) => server.stop()));
    },
    start: async (name) => await find(name).restart(),
    rotateHostKey: async (name) => await find(name).rotateHostKey(),
    close,
  };
}

/** Whether this machine can run a fleet, and if not, the one sentence that says what is missing. */
export async function sshFleetAvailable(): Promise<{ available: boolean; reason: string }> {
  const no = (reason: string): { available: boolean; reason: string } => ({
    available: false,
    reason,
  });
  if (process.platform !== 'linux') return no('A fleet of sshd needs Linux namespaces.');
  if (process.getuid?.() !== 0) return no('A fleet of sshd needs root, to make namespaces.');
  const sshd = await access('/usr/sbin/sshd', constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!sshd) return no('/usr/sbin/sshd is missing: apt-get install openssh-server.');
  try {
    const probe = await runToEnd([
      ...['unshare', '-m', '-u', '-p', '--fork', '--propagation', 'private'],
      ...['sh', '-c', 'hostname probe && mount -t tmpfs tmpfs /srv && mount -t proc proc /proc'],
    ]);
    if (probe.exitCode !== 0) return no(`Namespaces are refused here: ${probe.stderr.trim()}`);
  } catch {
    return no('unshare is missing: apt-get install util-linux.');
  }
  return { available: true, reason: 'ready' };
}

function serverOptions(
  name: string,
  options: SshFleetOptions,
): Parameters<typeof SshServer.start>[0] {
  return {
    name,
    stateDirectory: join(options.directory, name),
    authorizedKeys: options.authorizedKeys,
    extraHostKeyTypes: options.extraHostKeyTypes ?? [],
    sshdOptions: [
      'ListenAddress=127.0.0.1',
      'PidFile=none',
      'PermitRootLogin=yes',
      'StrictModes=no',
      'UsePAM=no',
      'PasswordAuthentication=no',
      'KbdInteractiveAuthentication=no',
      `MaxStartups=${options.maxStartups ?? '10:30:100'}`,
      `MaxSessions=${options.maxSessions ?? 10}`,
      ...(options.sshdOptions ?? []),
    ],
  };
}

function describe(server: SshServer): FleetServer {
  const { name, port, hostKey, pid } = server;
  return { name, host: '127.0.0.1', port, hostKey, pid };
}
