import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SshFleet } from '../../scripts/fleet/ssh-fleet.ts';
import { eachLimited } from '../../src/jobs/each-limited.ts';
import { runProgram } from '../builds/run-program.ts';
import type { PeerKey } from '../ssh-keys.ts';
import { atOnce } from './contestant.ts';

/** How peers reach the servers: by OpenSSH's client, with every connection made anew or with connections that stay open. */
export interface PeerNetwork {
  readonly names: readonly string[];
  /** Runs a script on a server without SSH: for what is not measured. */
  onEach(script: string): Promise<void>;
  /** The configuration for connections that are made anew, and end. */
  readonly coldConfig: string;
  /** The configuration for connections that are shared and stay open. */
  readonly warmConfig: string;
  /** Opens those that stay open. */
  open(): Promise<void>;
  close(): Promise<void>;
  readonly key: PeerKey;
  portOf(name: string): number;
}

/** What `SshFleet.inspect` runs at once. */
const AT_ONCE = 10;

/** @param portOf where a server is reached: its own port, or that of a slow way to it */
export async function openPeerNetwork(
  directory: string,
  of: {
    readonly fleet: SshFleet;
    readonly key: PeerKey;
    readonly portOf: (name: string) => number;
  },
): Promise<PeerNetwork> {
  const names = of.fleet.servers.map(({ name }) => name);
  // A socket's path may have 107 characters.
  const sockets = join(directory, 'c');
  await mkdir(sockets, { mode: 0o700 });
  const write = async (file: string, extra: readonly string[]): Promise<string> => {
    const path = join(directory, file);
    await writeFile(path, `${configOf(names, of, extra).join('\n')}\n`);
    return path;
  };
  const coldConfig = await write('ssh-cold', ['ControlMaster no']);
  const warmConfig = await write('ssh-warm', [
    'ControlMaster auto',
    `ControlPath ${sockets}/%n`,
    'ControlPersist 900',
  ]);
  return {
    names,
    coldConfig,
    warmConfig,
    key: of.key,
    portOf: of.portOf,
    onEach: (script) =>
      eachLimited(names, AT_ONCE, async (name) => {
        const ended = await of.fleet.inspect(name, script);
        if (ended.exitCode !== 0) throw new Error(`${name}: ${ended.stderr}`);
      }),
    open: () => atOnce(names, (name) => runProgram(['ssh', '-F', warmConfig, name, 'true'])),
    close: () =>
      atOnce(names, (name) =>
        runProgram(['ssh', '-F', warmConfig, '-O', 'exit', name]).catch(() => undefined),
      ),
  };
}

function configOf(
  names: readonly string[],
  { key, portOf }: { readonly key: PeerKey; readonly portOf: (name: string) => number },
  extra: readonly string[],
): string[] {
  return [
    ...names.flatMap((name) => [`Host ${name}`, '  HostName 127.0.0.1', `  Port ${portOf(name)}`]),
    'Host *',
    ...[
      'User root',
      `IdentityFile ${key.file}`,
      'IdentitiesOnly yes',
      'StrictHostKeyChecking no',
      'UserKnownHostsFile /dev/null',
      'LogLevel ERROR',
      'BatchMode yes',
      'GSSAPIAuthentication no',
      ...extra,
    ].map((line) => `  ${line}`),
  ];
}
