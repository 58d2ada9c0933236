import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sshFleetAvailable, startSshFleet } from '../fleet/ssh-fleet.ts';

/** One of the demo's servers. */
export interface DemoServer {
  readonly name: string;
  /** How Muster reaches it: the `connection` of `PUT /server`. */
  readonly connection: Readonly<Record<string, unknown>>;
  /** Its root directory as this machine sees it: what the demo looks at behind Muster's back. */
  readonly root: string;
  /** A command line, for people, that runs git in a folder of the server. */
  gitIn(path: string): string;
}

/** The servers to deploy to. */
export interface DemoServers {
  readonly servers: readonly DemoServer[];
  close(): Promise<void>;
}

/** How servers are made here, and why so. */
export interface ServerKind {
  readonly kind: 'ssh' | 'local';
  /** For people: what stands for a server. */
  readonly description: string;
}

export interface ServerOptions {
  readonly kind: ServerKind['kind'];
  readonly names: readonly string[];
  /** For host keys, or the folders themselves. */
  readonly directory: string;
  readonly keypair: { readonly name: string; readonly publicKey: string };
}

/** Real sshd servers where this machine can run them, else folders. */
export async function chooseServerKind(forceLocal: boolean): Promise<ServerKind> {
  if (forceLocal) {
    return { kind: 'local', description: 'folders of this machine, as --local asks for' };
  }
  const { available, reason } = await sshFleetAvailable();
  if (available) {
    const description = 'real sshd, each with its own hostname, file systems and pinned host key';
    return { kind: 'ssh', description };
  }
  const because = `${reason.charAt(0).toLowerCase()}${reason.slice(1).replace(/\.$/, '')}`;
  return { kind: 'local', description: `folders instead of real sshd: ${because}` };
}

/** Starts the servers. They end with `close`, or with this process. */
export async function startServers(options: ServerOptions): Promise<DemoServers> {
  return options.kind === 'ssh' ? startSsh(options) : startLocal(options);
}

async function startSsh({ names, directory, keypair }: ServerOptions): Promise<DemoServers> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const fleet = await startSshFleet({ names, directory, authorizedKeys: [keypair.publicKey] });
  return {
    servers: fleet.servers.map(({ name, host, port, hostKey, pid }) => ({
      name,
      connection: {
        kind: 'ssh',
        host,
        port,
        user: 'root',
        keypair: keypair.name,
        host_key: hostKey,
      },
      // Through its first process the kernel shows the mounts of its namespace.
      root: `/proc/${pid}/root`,
      gitIn: (path) => `nsenter -t ${pid} -m -u git -C ${path}`,
    })),
    close: () => fleet.close(),
  };
}

async function startLocal({ names, directory }: ServerOptions): Promise<DemoServers> {
  const servers = names.map((name): DemoServer => {
    const root = join(directory, name);
    return {
      name,
      connection: { kind: 'local', root },
      root,
      gitIn: (path) => `git -C ${join(root, path)}`,
    };
  });
  for (const { root } of servers) await mkdir(root, { recursive: true });
  return { servers, close: () => Promise.resolve() };
}
