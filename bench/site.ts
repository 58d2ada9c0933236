import { join } from 'node:path';
import { type SshFleet, sshFleetAvailable, startSshFleet } from '../scripts/fleet/ssh-fleet.ts';
import { findProgram } from '../test/support/parts.ts';
import type { Bench } from './bench.ts';
import { BUILD_SHAPES } from './builds/build-kind.ts';
import { openVersions, type Version, type Versions } from './builds/versions.ts';
import { type Link, openLink } from './link/link.ts';
import { type MusterContestant, makeMusterContestant, makeMusterKey } from './muster/contestant.ts';
import { type BenchMuster, startBenchMuster } from './muster/muster.ts';
import { makeAnsible } from './peers/ansible.ts';
import { makeCapistrano } from './peers/capistrano.ts';
import { atOnce, type Contestant, type Way } from './peers/contestant.ts';
import { makeGitPush } from './peers/git-push.ts';
import { type GitServer, startGitServer } from './peers/git-server.ts';
import { openPeerNetwork, type PeerNetwork } from './peers/peer-network.ts';
import { makeRsync } from './peers/rsync.ts';
import { makePeerKey, type PeerKey } from './ssh-keys.ts';

/** Servers, a Muster, and its peers, all set up to bring versions of one build to the same servers. */
export interface Site {
  readonly fleet: SshFleet;
  readonly muster: BenchMuster;
  readonly versions: Versions;
  readonly us: MusterContestant;
  readonly peers: readonly Contestant[];
  /** Sentences on peers that are missing. */
  readonly missing: readonly string[];
  /** The slow way to the servers, if there is one. */
  readonly link: Link | null;
  /** The file of a private key that the servers let in. */
  readonly peerKey: string;
  /** Sees to it that the servers have a version of a contestant. */
  begin(contestant: Contestant): Promise<void>;
  /** A first delivery, onto servers that had nothing. @returns how many milliseconds it took */
  first(contestant: Contestant): Promise<number>;
  /** Delivers the next version by one of its ways. @returns how many milliseconds it took */
  update(contestant: Contestant, way: Way): Promise<number>;
  /** The version that a contestant has brought last. */
  present(contestant: Contestant): Promise<Version>;
}

/** How a site is set up. */
export interface SiteOptions {
  readonly name: string;
  /** The way to every server; null: as fast as this machine. */
  readonly slow: { readonly roundTripMs: number; readonly megabitsPerSecond: number } | null;
  readonly withPeers: boolean;
}

/** Of each peer: the programs that must be there, and the Debian packages that bring them. */
const PEERS = [
  { name: 'rsync', program: 'rsync', debianPackage: 'rsync' },
  { name: 'git push', program: 'git', debianPackage: 'git' },
  { name: 'Ansible git', program: 'ansible-playbook', debianPackage: 'ansible' },
  { name: 'Capistrano', program: 'cap', debianPackage: 'capistrano' },
] as const;

export async function openSite(bench: Bench, options: SiteOptions): Promise<Site> {
  const { available, reason } = await sshFleetAvailable();
  if (!available) throw new Error(reason);
  const directory = await bench.directory(options.name);
  bench.say(`${options.name}: ${bench.options.servers} servers, Muster`);
  // A look at all servers in the middle of anybody's turn would be measured with it.
  const muster = await startBenchMuster(bench, { MUSTER_OBSERVE_INTERVAL_SECONDS: '0' });
  const key = await makePeerKey(directory);
  const names = serverNames(bench.options.servers);
  const fleet = await startSshFleet({
    names,
    directory: join(directory, 'fleet'),
    authorizedKeys: [await makeMusterKey(muster), key.publicKey],
    // Peers log in all at once, which is what these numbers are about; a row of its own looks at the stock ones.
    maxStartups: '200:30:400',
  });
  bench.onClose(() => fleet.close());
  const link = options.slow === null ? null : openLink(options.slow);
  if (link !== null) bench.onClose(() => link.close());
  const ports = new Map<string, number>();
  for (const { name, port } of fleet.servers) {
    ports.set(name, link === null ? port : await link.open(name, port));
  }
  const portOf = (name: string): number => ports.get(name) ?? 0;
  const versions = await bench.shared('versions', () => openUsualVersions(bench));
  const us = await makeMusterContestant({
    muster,
    application: 'shop',
    servers: fleet.servers.map(({ name, hostKey }) => ({ name, hostKey, port: portOf(name) })),
    place: '/opt',
    remove: (path) => atOnce(names, (name) => fleet.inspect(name, ['rm', '-rf', path])),
  });
  const { peers, missing } = options.withPeers
    ? await makePeers(bench, { directory, fleet, key, portOf, link, versions })
    : { peers: [], missing: [] };
  const peerKey = key.file;
  return {
    fleet,
    muster,
    versions,
    us,
    peers,
    missing,
    link,
    peerKey,
    ...deliveries(bench, versions),
  };
}

/** The versions of the build that `--build` names. */
export async function openUsualVersions(bench: Bench): Promise<Versions> {
  return openVersions(await bench.directory('versions'), BUILD_SHAPES[bench.options.build]);
}

export function serverNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `web${String(i + 1).padStart(3, '0')}`);
}

async function makePeers(
  bench: Bench,
  of: {
    readonly directory: string;
    readonly fleet: SshFleet;
    readonly key: PeerKey;
    readonly portOf: (name: string) => number;
    readonly link: Link | null;
    readonly versions: Versions;
  },
): Promise<{ peers: Contestant[]; missing: string[] }> {
  const network = await openPeerNetwork(await bench.directory('net'), of);
  bench.onClose(() => network.close());
  const served = await bench.directory('served');
  const server = await startGitServer(served, of.versions);
  bench.onClose(() => server.close());
  if (of.link !== null) await leadThroughLink(of.fleet, of.link, server);
  const peers: Contestant[] = [];
  const missing: string[] = [];
  for (const { name, program, debianPackage } of PEERS) {
    if (findProgram(program) === undefined) {
      missing.push(
        `${name} was not measured: ${program} is missing (Debian: apt-get install ${debianPackage}).`,
      );
      continue;
    }
    try {
      peers.push(await makePeer(bench, name, { ...of, network, server, isSlow: of.link !== null }));
    } catch (error) {
      missing.push(
        `${name} was not measured: it cannot be set up here (${String(error).slice(0, 300)}).`,
      );
    }
  }
  return { peers, missing };
}

async function makePeer(
  bench: Bench,
  name: (typeof PEERS)[number]['name'],
  of: {
    readonly network: PeerNetwork;
    readonly server: GitServer;
    readonly versions: Versions;
    readonly isSlow: boolean;
  },
): Promise<Contestant> {
  switch (name) {
    case 'rsync':
      return makeRsync(of.network, { isSlow: of.isSlow });
    case 'git push':
      return makeGitPush(of.network, of.versions);
    case 'Ansible git': {
      const directory = await bench.directory('an');
      const repository = await of.server.addRepository('ansible.git');
      return makeAnsible(of.network, { directory, repository });
    }
    case 'Capistrano': {
      const directory = await bench.directory('capistrano');
      const repository = await of.server.addRepository('capistrano.git');
      return makeCapistrano(of.network, { directory, repository });
    }
  }
}

/** What servers fetch comes by their slow way, too: git on each is told of its own way to the git server. */
async function leadThroughLink(fleet: SshFleet, link: Link, server: GitServer): Promise<void> {
  for (const { name } of fleet.servers) {
    const port = await link.open(name, server.port);
    const instead = `url.git://127.0.0.1:${port}/.insteadOf`;
    const from = `git://127.0.0.1:${server.port}/`;
    await fleet.inspect(name, ['git', 'config', '--global', instead, from]);
  }
}

function deliveries(
  bench: Bench,
  versions: Versions,
): Pick<Site, 'begin' | 'first' | 'update' | 'present'> {
  /** What each contestant has brought last. */
  const last = new Map<string, number>();
  const deliver = async (contestant: Contestant, way: Way, number: number): Promise<number> => {
    bench.signal.throwIfAborted();
    const version = await versions.get(number);
    await way.prepare?.(version);
    const start = performance.now();
    await way.deliver(version);
    const tookMs = performance.now() - start;
    last.set(contestant.name, number);
    bench.say(`${contestant.name}, ${way.name}: version ${number} in ${Math.round(tookMs)} ms`);
    return tookMs;
  };
  const first = async (contestant: Contestant): Promise<number> => {
    if (last.has(contestant.name)) await contestant.clear();
    return deliver(contestant, contestant.first, 0);
  };
  return {
    first,
    begin: async (contestant) => {
      if (!last.has(contestant.name)) await first(contestant);
    },
    update: (contestant, way) => deliver(contestant, way, (last.get(contestant.name) ?? -1) + 1),
    present: (contestant) => versions.get(last.get(contestant.name) ?? 0),
  };
}
