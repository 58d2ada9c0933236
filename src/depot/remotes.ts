import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type SimpleGit, simpleGit } from 'simple-git';
import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';
import { type GitUri, parseGitUri } from '../domain/git-uri.ts';
import { parseBranch } from '../domain/names.ts';
import { assertObjectId, runGit } from './git.ts';
import { changeRefs, listRefs } from './refs.ts';
import { isMovedHead, remoteError } from './remote-errors.ts';
import { type RemoteLogin, withRemoteHome } from './remote-login.ts';
import { type DepotFolder, repositoryPath } from './repository.ts';

/** A repository on a git server, and how Muster gets in. */
export interface Remote {
  /** As `parseGitUri` accepts it. */
  readonly uri: string;
  readonly login: RemoteLogin;
}

export interface RemoteOptions {
  readonly applicationId: string;
  readonly remote: Remote;
  readonly signal?: AbortSignal | undefined;
}

/** What a git server has. */
export interface RemoteHeads {
  /** Commit ids by branch. */
  readonly heads: ReadonlyMap<string, string>;
  /** The branch that its HEAD names; null in an empty repository. */
  readonly defaultBranch: string | null;
}

const CALL_TIMEOUT_MS = 60_000;
const TRANSFER_TIMEOUT_MS = 30 * 60_000;

/**
 * Asks a git server for its branches.
 * @throws {AppError} `gitprovider_refused`, `gitprovider_unreachable`, `host_key_changed`
 */
export async function listRemoteHeads(folder: DepotFolder, o: RemoteOptions): Promise<RemoteHeads> {
  const output = await talk(folder, o, CALL_TIMEOUT_MS, (git, uri) =>
    git.raw(['ls-remote', '--symref', '--', uri, 'HEAD', 'refs/heads/*']),
  );
  const heads = new Map<string, string>();
  let defaultBranch: string | null = null;
  for (const line of output.split('\n')) {
    const [left = '', right = ''] = line.split('\t');
    const pointed = /^ref: refs\/heads\/(.+)$/.exec(left)?.[1];
    if (pointed !== undefined && right === 'HEAD') defaultBranch = pointed;
    const branch = /^refs\/heads\/(.+)$/.exec(right)?.[1];
    if (branch !== undefined) heads.set(branch, assertObjectId(left));
  }
  return { heads, defaultBranch };
}

/**
 * Fetches a branch with all its history into the depot. Nothing keeps it alive yet: see `keepHead`.
 * @returns the commit at its head
 * @throws {AppError} as `listRemoteHeads`
 */
export async function fetchBranch(
  folder: DepotFolder,
  o: RemoteOptions & { readonly branch: string },
): Promise<string> {
  const gitDir = repositoryPath(folder, o.applicationId);
  const ref = `refs/muster/fetched/${randomUUID()}`;
  const refspec = `refs/heads/${parseBranch(o.branch)}:${ref}`;
  try {
    await talk(folder, o, TRANSFER_TIMEOUT_MS, (git, uri) =>
      git.raw(['fetch', '--quiet', '--no-tags', '--', uri, refspec]),
    );
    const [fetched] = await listRefs(folder.git, gitDir, ref);
    if (fetched === undefined) throw new AppError('internal', 'A fetched branch is not there.');
    return fetched.id;
  } finally {
    await changeRefs(folder.git, gitDir, [{ name: ref, id: null }]).catch(() => {});
  }
}

/**
 * Pushes a commit to a branch, never by force: the server's head must be an ancestor of it. Doing it twice is no error.
 * @returns `moved` if the server's head is not, and nothing was changed
 * @throws {AppError} as `listRemoteHeads`; a hook's words are in the message
 */
export async function pushCommit(
  folder: DepotFolder,
  o: RemoteOptions & { readonly branch: string; readonly commit: string },
): Promise<'pushed' | 'moved'> {
  const refspec = `${assertObjectId(o.commit)}:refs/heads/${parseBranch(o.branch)}`;
  const outcome = await talk(folder, o, TRANSFER_TIMEOUT_MS, (git, uri) =>
    git.raw(['push', '--porcelain', '--', uri, refspec]).catch((error: unknown) => {
      if (error instanceof Error && isMovedHead(error.message)) return MOVED;
      throw error;
    }),
  );
  return outcome === MOVED ? 'moved' : 'pushed';
}

/** Nothing that git writes, which ends with a line break. */
const MOVED = 'moved';

/** Whether the depot has a commit. */
export async function hasCommit(
  folder: DepotFolder,
  applicationId: string,
  commit: string,
): Promise<boolean> {
  const output = await runGit(folder.git, {
    gitDir: repositoryPath(folder, applicationId),
    args: ['cat-file', '--batch-check'],
    input: `${assertObjectId(commit)}\n`,
  });
  return output.startsWith(`${commit} commit `);
}

/** Whether one commit leads to another, or is it. The depot must have both. */
export async function isAncestor(
  folder: DepotFolder,
  o: { readonly applicationId: string; readonly ancestor: string; readonly commit: string },
): Promise<boolean> {
  const ancestor = assertObjectId(o.ancestor);
  const output = await runGit(folder.git, {
    gitDir: repositoryPath(folder, o.applicationId),
    args: ['rev-list', '--max-count=1', ancestor, `^${assertObjectId(o.commit)}`, '--'],
  });
  return output.trim() === '';
}

/** Runs one git against a git server, with nothing of Muster's environment and none of simple-git's guards off. */
async function talk(
  folder: DepotFolder,
  o: RemoteOptions,
  timeoutMs: number,
  work: (git: SimpleGit, uri: string) => PromiseLike<string>,
): Promise<string> {
  const uri: GitUri = parseGitUri(o.remote.uri);
  const { login } = o.remote;
  return await withRemoteHome(folder, { uri, login }, async ({ home, sshConfig }) => {
    const timeout = AbortSignal.timeout(timeoutMs);
    const git = simpleGit({
      baseDir: repositoryPath(folder, o.applicationId),
      maxConcurrentProcesses: 1,
      abort: o.signal === undefined ? timeout : AbortSignal.any([o.signal, timeout]),
      allowEnvironment: ALLOWED_ENVIRONMENT,
    }).env({
      PATH: folder.git.searchPath,
      HOME: home,
      LC_ALL: 'C',
      MUSTER_SSH_CONFIG: sshConfig,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_NO_REPLACE_OBJECTS: '1',
    });
    try {
      return await work(git, uri.uri);
    } catch (error) {
      o.signal?.throwIfAborted();
      const text = timeout.aborted
        ? `The connection timed out after ${counted(timeoutMs / 1000, 'second')}`
        : error instanceof Error
          ? error.message
          : String(error);
      throw remoteError({
        uri,
        text,
        secrets: login.kind === 'password' ? [login.password] : [],
        knownHostsPath: join(folder.directory, 'known_hosts'),
      });
    }
  });
}

/** Variables of git's that are set above; simple-git stops all others. */
const ALLOWED_ENVIRONMENT = [
  'GIT_CONFIG_NOSYSTEM',
  'GIT_TERMINAL_PROMPT',
  'GIT_NO_REPLACE_OBJECTS',
];
