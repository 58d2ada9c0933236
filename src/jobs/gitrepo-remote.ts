import type { Remote } from '../depot/remotes.ts';
import { AppError } from '../domain/errors.ts';
import { parseGitUri } from '../domain/git-uri.ts';
import { gitLogin, gitproviderAuthSchema } from '../domain/gitprovider.ts';
import { openSecret } from '../domain/sealed-secret.ts';
import { findGitrepoRemote, type GitrepoRemote } from '../store/gitrepos.ts';
import type { ProviderAccess } from '../transport/providers/client.ts';
import type { JobDependencies } from './dependencies.ts';
import { pause } from './pause.ts';

/** What is needed to reach repositories outside Muster. */
export type RemoteDependencies = Pick<JobDependencies, 'config' | 'database' | 'depot'>;

/**
 * How a gitrepo's repository at a provider is reached; null if it lives in Muster's own store alone.
 * @throws {AppError} `conflict` if its keypair is missing
 */
export async function findRemote(
  { config, database }: RemoteDependencies,
  gitrepoId: string,
): Promise<Remote | null> {
  const row = await findGitrepoRemote(database.db, gitrepoId);
  return row === null || row.uri === null ? null : toRemote(row, row.uri, config.secretKey);
}

/** How the REST API of a gitrepo's provider is reached; null if it has none. */
export function toProviderAccess(
  { gitprovider }: GitrepoRemote,
  secretKey: Buffer,
): ProviderAccess | null {
  if (gitprovider === null) return null;
  const { name, kind, url, authSealed } = gitprovider;
  const auth = gitproviderAuthSchema.parse(JSON.parse(openSecret(authSealed, secretKey)));
  return { name, kind, url, auth };
}

function toRemote(row: GitrepoRemote, uri: string, secretKey: Buffer): Remote {
  if (parseGitUri(uri).kind === 'http') {
    const provider = toProviderAccess(row, secretKey);
    if (provider === null) return { uri, login: { kind: 'none' } };
    return { uri, login: { kind: 'password', ...gitLogin(provider.kind, provider.auth) } };
  }
  if (row.keypair === null) {
    throw new AppError(
      'conflict',
      `Gitrepo \`${row.name}\` is reached by SSH and has no keypair. Delete it and create it again with \`keypair\`; at the provider it stays.`,
    );
  }
  const privateKey = openSecret(row.keypair.privateKeySealed, secretKey);
  return { uri, login: { kind: 'key', privateKey } };
}

const RETRY_AFTER_MS = [500, 3000] as const;

/**
 * Tries again for a short while what fails because a provider does not answer. `work` must do no harm when done twice.
 * @throws whatever the last try threw
 */
export async function withPatience<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (const afterMs of RETRY_AFTER_MS) {
    try {
      return await work();
    } catch (error) {
      const isAway = error instanceof AppError && error.code === 'gitprovider_unreachable';
      if (!isAway) throw error;
      await pause(afterMs, signal);
      signal.throwIfAborted();
    }
  }
  return await work();
}
