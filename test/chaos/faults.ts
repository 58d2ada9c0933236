import { setTimeout as sleep } from 'node:timers/promises';
import { type Lab, LEASE_SECONDS } from './lab.ts';
import type { Random } from './random.ts';

/** Something that may happen at any moment of a deployment. Comes back when it is over. */
export interface RandomFault {
  readonly name: string;
  /** Servers were harmed: their steps may fail, and a retry must then end well. */
  readonly harmsServers: boolean;
  readonly happen: (lab: Lab, random: Random) => Promise<void>;
}

const killOne = async (lab: Lab, pid: number | null | undefined): Promise<void> => {
  if (pid !== null && pid !== undefined) await lab.replace(pid);
};

/** None, while the only one is being started again. */
const anyMember = (lab: Lab, random: Random): ReturnType<Lab['members']>[number] | null =>
  lab.members().length === 0 ? null : random.pick(lab.members());

const serverOf = (lab: Lab, random: Random): string => random.pick(lab.servers);

/** Everywhere. */
const ANYWHERE: readonly RandomFault[] = [
  {
    name: 'kill who runs it',
    harmsServers: false,
    happen: async (lab) => killOne(lab, await lab.busyPid().catch(() => null)),
  },
  {
    name: 'kill any process',
    harmsServers: false,
    happen: (lab, random) => killOne(lab, anyMember(lab, random)?.process.pid),
  },
  {
    name: 'kill PostgreSQL',
    harmsServers: false,
    happen: (lab) => lab.killPostgres(),
  },
  {
    name: 'freeze who runs it for longer than its lease',
    harmsServers: false,
    happen: async (lab) => {
      const pid = await lab.busyPid().catch(() => null);
      if (pid === null) return;
      freeze(pid, 'SIGSTOP');
      await sleep(LEASE_SECONDS * 1000 * 2);
      freeze(pid, 'SIGCONT');
    },
  },
  {
    name: 'the clock jumps ahead by an hour',
    harmsServers: false,
    happen: async (lab) => {
      await lab.sql(`update jobs set lease_expires_at = lease_expires_at - interval '1 hour'
                      where lease_expires_at is not null`);
      await lab.sql(`update leases set expires_at = expires_at - interval '1 hour'
                      where expires_at < 'infinity'`);
    },
  },
  {
    name: 'a server is cut off and comes back',
    harmsServers: true,
    happen: async (lab, random) => {
      const server = serverOf(lab, random);
      await lab.fleet.stop(server);
      await sleep(random.between(100, 2000));
      await lab.fleet.start(server);
    },
  },
  {
    name: 'all connections of a server break',
    harmsServers: true,
    happen: async (lab, random) => {
      await lab.fleet.inspect(serverOf(lab, random), BREAK_CONNECTIONS);
    },
  },
  {
    name: 'the disk of a server is full for a while',
    harmsServers: true,
    happen: async (lab, random) => {
      const server = serverOf(lab, random);
      await lab.fleet.inspect(server, FILL_DISK);
      await sleep(random.between(500, 3000));
      await lab.fleet.inspect(server, FREE_DISK);
    },
  },
];

const WITH_REDIS: readonly RandomFault[] = [
  {
    name: 'FLUSHALL',
    harmsServers: false,
    happen: async (lab) => lab.redis?.flush(),
  },
  {
    name: 'kill Redis',
    harmsServers: false,
    happen: async (lab) => lab.redis?.restart(),
  },
  {
    name: 'a process loses PostgreSQL and Redis for a moment',
    harmsServers: false,
    happen: (lab, random) => {
      for (const proxy of anyMember(lab, random)?.proxies ?? []) proxy.cut();
      return Promise.resolve();
    },
  },
];

export function faultsOf(lab: Lab): readonly RandomFault[] {
  return lab.redis === null ? ANYWHERE : [...ANYWHERE, ...WITH_REDIS];
}

function freeze(pid: number, signal: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Killed meanwhile.
  }
}

/** Ends what serves logged-in connections, and leaves the sshd that listens and what runs for them. */
const BREAK_CONNECTIONS = String.raw`
for process in /proc/[0-9]*; do
  case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in 'sshd: '*' [listener]'*) ;; 'sshd: '*|'sshd-session: '*) kill -KILL "${'$'}{process#/proc/}" ;; esac
done
:`;

const FILL_DISK = `
used=$(df -k --output=used /opt | tail -1)
mount -o remount,size="$((used + 8))k" /opt
head -c 1000000 /dev/zero >/opt/.filler 2>/dev/null
:`;

const FREE_DISK = 'rm -f /opt/.filler; mount -o remount,size=2g /opt';
