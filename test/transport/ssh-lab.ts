import {
  type SshFleet,
  type SshFleetOptions,
  sshFleetAvailable,
  startSshFleet,
} from '../../scripts/fleet/ssh-fleet.ts';
import type { ServerTarget } from '../../src/transport/connection.ts';
import { generateKeypair } from '../../src/transport/keypairs.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';

/** A fleet whose servers let in one key. */
export interface SshLab {
  readonly fleet: SshFleet;
  readonly privateKey: string;
  /** How to reach a server, with its key pinned unless `hostKey` says otherwise. */
  target(
    name: string,
    changes?: Partial<Extract<ServerTarget['connection'], { kind: 'ssh' }>>,
  ): ServerTarget;
  close(): Promise<void>;
}

/** Start a fleet of those names. The caller closes it. */
export async function startSshLab(
  names: readonly string[],
  options: Partial<SshFleetOptions> = {},
): Promise<SshLab> {
  const directory = await makeTemporaryDirectory();
  const { privateKey, publicKey } = generateKeypair();
  const fleet = await startSshFleet({
    names,
    directory: directory.path,
    authorizedKeys: [publicKey],
    ...options,
  });
  return {
    fleet,
    privateKey,
    target: (name, changes = {}) => {
      const server = fleet.servers.find((one) => one.name === name);
      if (server === undefined) throw new Error(`no server ${name}`);
      const { host, port, hostKey } = server;
      return {
        id: name,
        name,
        connection: { kind: 'ssh', host, port, user: 'root', privateKey, hostKey, ...changes },
      };
    },
    close: async () => {
      await fleet.close();
      await directory.remove();
    },
  };
}

/** Whether SSH tests can run. In CI they must; elsewhere the reason is printed. */
export async function requireSshFleet(): Promise<boolean> {
  const { available, reason } = await sshFleetAvailable();
  if (available) return true;
  if (process.env['CI'] !== undefined) throw new Error(`${reason} In CI no test may be skipped.`);
  process.stderr.write(`Skipped: ${reason}\n`);
  return false;
}
