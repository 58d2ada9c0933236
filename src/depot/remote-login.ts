import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../domain/errors.ts';
import type { GitUri } from '../domain/git-uri.ts';
import { storageError } from './git.ts';
import { type DepotFolder, removeQuietly, withTemporary } from './repository.ts';

/** How Muster shows a git server who it is. */
export type RemoteLogin =
  | { readonly kind: 'key'; readonly privateKey: string }
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'none' };

/** The surroundings of one git that talks to a git server. */
export interface RemoteHome {
  /** For HOME; holds `.gitconfig`. */
  readonly home: string;
  /** Names the configuration of ssh, which names the key and the known host keys. */
  readonly sshConfig: string;
}

const PURPOSE = 'remote';
/** No call lasts so long, so an older home has no user: its process was killed. It may hold a key. */
const ABANDONED_MS = 3_600_000;

/**
 * Lends a git a home of its own, with the secrets in files that nobody else may read, and removes it again.
 *
 * Everything is told to git by that home's configuration, and nothing by arguments or the environment: both show in
 * the list of processes.
 */
export async function withRemoteHome<T>(
  folder: DepotFolder,
  remote: { readonly uri: GitUri; readonly login: RemoteLogin },
  work: (home: RemoteHome) => Promise<T>,
): Promise<T> {
  await removeAbandoned(folder);
  return await withTemporary(folder, PURPOSE, async (home) => {
    const sshConfig = join(home, 'ssh-config');
    const key = join(home, 'key');
    const { uri, login } = remote;
    try {
      await mkdir(home, { mode: 0o700 });
      await chmod(home, 0o700);
      await writePrivate(join(home, '.gitconfig'), gitConfig(uri, login));
      if (login.kind === 'key') await writePrivate(key, login.privateKey);
      const knownHosts = join(folder.directory, 'known_hosts');
      await writePrivate(sshConfig, clientConfig({ key, knownHosts }));
    } catch (error) {
      throw storageError(error);
    }
    return await work({ home, sshConfig });
  });
}

function writePrivate(path: string, text: string): Promise<void> {
  return writeFile(path, text, { mode: 0o600, flag: 'wx' });
}

/** Source: DESIGN.md "Safety". Redirects are not followed, as they would take the password along. */
function gitConfig(uri: GitUri, login: RemoteLogin): string {
  return [
    '[protocol]\n\tallow = never',
    ...['https', 'http', 'ssh'].map((name) => `[protocol "${name}"]\n\tallow = always`),
    '[core]\n\thooksPath = /dev/null\n\tfsmonitor = false',
    // The one variable that the shell expands here is set by Muster, so nothing needs quoting.
    String.raw`	sshCommand = ssh -F \"$MUSTER_SSH_CONFIG\"`,
    '[ssh]\n\tvariant = ssh',
    '[credential]\n\thelper =',
    '[gc]\n\tauto = 0',
    '[maintenance]\n\tauto = false',
    '[fetch]\n\trecurseSubmodules = false\n\tunpackLimit = 1',
    '[push]\n\trecurseSubmodules = no',
    '[http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1\n\tlowSpeedTime = 60',
    ...(uri.kind === 'http' && login.kind === 'password'
      ? [`[http "${uri.origin}/"]\n\textraHeader = Authorization: Basic ${basic(login)}`]
      : []),
    '',
  ].join('\n');
}

function basic({ username, password }: { username: string; password: string }): string {
  return Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
}

/** The first host key that is seen is pinned; another one later is refused. Nothing of the account's own is used. */
function clientConfig({ key, knownHosts }: { key: string; knownHosts: string }): string {
  return [
    `IdentityFile ${quoted(key)}`,
    'IdentitiesOnly yes',
    'IdentityAgent none',
    'PreferredAuthentications publickey',
    'BatchMode yes',
    'StrictHostKeyChecking accept-new',
    `UserKnownHostsFile ${quoted(knownHosts)}`,
    'GlobalKnownHostsFile /dev/null',
    'HashKnownHosts no',
    'UpdateHostKeys no',
    'CheckHostIP no',
    'ControlMaster no',
    'ControlPath none',
    'ForwardAgent no',
    'ClearAllForwardings yes',
    'PermitLocalCommand no',
    'ConnectTimeout 15',
    'ServerAliveInterval 15',
    'ServerAliveCountMax 4',
    'LogLevel ERROR',
    '',
  ].join('\n');
}

/** A path as ssh_config(5) takes it. Only the data directory's own name could hold what it cannot. */
function quoted(path: string): string {
  if (/["\\$]|\p{Cc}/u.test(path)) {
    throw new AppError(
      'storage_failed',
      'The path of the data directory holds a quote, backslash, dollar sign or line break, with which ssh cannot be used. Move it to a plainer path.',
    );
  }
  return `"${path.replaceAll('%', '%%')}"`;
}

async function removeAbandoned({ temporary }: DepotFolder): Promise<void> {
  const names = await readdir(temporary).catch(() => []);
  for (const name of names.filter((each) => each.startsWith(`${PURPOSE}-`))) {
    const path = join(temporary, name);
    const found = await stat(path).catch(() => null);
    if (found !== null && Date.now() - found.mtimeMs > ABANDONED_MS) await removeQuietly(path);
  }
}
