import { AppError } from '../domain/errors.ts';
import { assertObjectId, runGit } from './git.ts';
import { branchRefPrefix, changeRefs, gitrepoRefPrefix, listRefs } from './refs.ts';
import { type DepotFolder, repositoryPath } from './repository.ts';

export interface CommitOptions {
  readonly applicationId: string;
  readonly tree: string;
  /** The head before, or null for the first commit of a branch. */
  readonly parent: string | null;
  readonly message: string;
  /** Author and committer in one. */
  readonly author: { readonly name: string; readonly email: string };
  /** Counts to the second, in UTC. */
  readonly date: Date;
}

/**
 * Makes a commit. The same input gives the same id, however often and wherever it is done (DESIGN.md decision 4).
 * Nothing keeps it alive yet: see `keepHead`.
 * @throws {AppError} `invalid_input` if nothing is left of the author's name, `storage_failed`
 */
export async function commitTree(folder: DepotFolder, o: CommitOptions): Promise<string> {
  const name = identity(o.author.name);
  const email = identity(o.author.email);
  if (name === '') {
    throw new AppError(
      'invalid_input',
      'The author of a commit must have a name with a letter or digit in it.',
    );
  }
  const date = `@${Math.floor(o.date.getTime() / 1000)} +0000`;
  const parents = o.parent === null ? [] : ['-p', assertObjectId(o.parent)];
  const output = await runGit(folder.git, {
    gitDir: repositoryPath(folder, o.applicationId),
    config: ['i18n.commitEncoding=UTF-8'],
    args: ['commit-tree', '--no-gpg-sign', ...parents, '-F', '-', assertObjectId(o.tree)],
    env: {
      GIT_AUTHOR_NAME: name,
      GIT_AUTHOR_EMAIL: email,
      GIT_AUTHOR_DATE: date,
      GIT_COMMITTER_NAME: name,
      GIT_COMMITTER_EMAIL: email,
      GIT_COMMITTER_DATE: date,
    },
    input: o.message.replaceAll('\0', ''),
  });
  return assertObjectId(output.trim());
}

/** The first parent of a commit, or null if it has none. @throws {AppError} `storage_failed` if there is no such commit */
export async function parentOf(
  folder: DepotFolder,
  applicationId: string,
  commit: string,
): Promise<string | null> {
  const output = await runGit(folder.git, {
    gitDir: repositoryPath(folder, applicationId),
    args: ['rev-list', '--parents', '--max-count=1', assertObjectId(commit), '--'],
  });
  const [, parent] = output.trim().split(' ');
  return parent === undefined ? null : assertObjectId(parent);
}

/** A commit as git stores it. @throws {AppError} `storage_failed` if there is no such commit */
export async function contentOf(
  folder: DepotFolder,
  applicationId: string,
  commit: string,
): Promise<string> {
  return await runGit(folder.git, {
    gitDir: repositoryPath(folder, applicationId),
    args: ['cat-file', 'commit', assertObjectId(commit)],
  });
}

/**
 * Keeps a head and all that it grew from alive.
 *
 * Which commit is the head is decided in PostgreSQL, and two workers may come here in any order. So each head gets a ref
 * of its own, and only refs to commits that the new one contains are removed: nobody can take away what is needed.
 */
export async function keepHead(
  folder: DepotFolder,
  o: {
    readonly applicationId: string;
    readonly gitrepoId: string;
    readonly branch: string;
    readonly commit: string;
    /** A commit that it grew from, if one is known: mostly that is all there is, and git need not be asked. */
    readonly parent?: string;
  },
): Promise<void> {
  const gitDir = repositoryPath(folder, o.applicationId);
  const commit = assertObjectId(o.commit);
  const prefix = branchRefPrefix(o.gitrepoId, o.branch);
  const heads = await listRefs(folder.git, gitDir, prefix);
  const others = heads.filter(({ id }) => id !== commit);
  const needed = others.every(({ id }) => id === o.parent)
    ? new Set([commit])
    : await independentOf(folder, gitDir, [commit, ...others.map(({ id }) => id)]);
  const contained = heads.filter(({ id }) => !needed.has(id));
  await changeRefs(folder.git, gitDir, [
    ...(needed.has(commit) ? [{ name: prefix + commit, id: commit }] : []),
    ...contained.map(({ name }) => ({ name, id: null })),
  ]);
}

/** Of several commits, those that no other one contains. */
async function independentOf(
  { git }: DepotFolder,
  gitDir: string,
  commits: readonly string[],
): Promise<ReadonlySet<string>> {
  const output = await runGit(git, { gitDir, args: ['merge-base', '--independent', ...commits] });
  return new Set(output.split('\n'));
}

/** Lets everything of a gitrepo go; nothing happens if there is nothing. */
export async function dropHeads(
  folder: DepotFolder,
  applicationId: string,
  gitrepoId: string,
): Promise<void> {
  const gitDir = repositoryPath(folder, applicationId);
  const heads = await listRefs(folder.git, gitDir, gitrepoRefPrefix(gitrepoId));
  await changeRefs(
    folder.git,
    gitDir,
    heads.map(({ name }) => ({ name, id: null })),
  );
}

/** Git strips these itself, but refuses a name of nothing else in words that help no one. */
function identity(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
  return text.replace(/[\u0000-\u001f\u007f<>]/g, '').replace(/^[\s.,:;"'\\]+|[\s.,:;"'\\]+$/g, '');
}
