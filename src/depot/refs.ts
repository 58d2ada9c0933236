import { createHash } from 'node:crypto';
import { stat, unlink } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { AppError } from '../domain/errors.ts';
import { assertObjectId, type GitSurroundings, runGit } from './git.ts';

/** A ref and the object it keeps alive. */
export interface Ref {
  readonly name: string;
  readonly id: string;
}

/** To set a ref, or with `id: null` to remove it. */
export interface RefChange {
  readonly name: string;
  readonly id: string | null;
}

const STALE_LOCK_AGE_MS = 10 * 60 * 1000;

/** Everything that builds keep alive stands below this. */
export function buildsRefPrefix(): string {
  return 'refs/muster/builds/';
}

/** Everything that a build keeps alive stands below this. */
export function buildRefPrefix(buildId: string): string {
  return `${buildsRefPrefix()}${hashed(buildId)}/`;
}

/** The ref of the whole build. */
export function buildRef(buildId: string): string {
  return `${buildRefPrefix(buildId)}master`;
}

/** The packages of a build stand below this. */
export function packageRefPrefix(buildId: string): string {
  return `${buildRefPrefix(buildId)}packages/`;
}

/** The ref of one package of a build. */
export function packageRef(buildId: string, packageName: string): string {
  return packageRefPrefix(buildId) + hashed(packageName);
}

/** Everything that gitrepos keep alive stands below this. */
function headsRefPrefix(): string {
  return 'refs/muster/heads/';
}

/** Everything that a gitrepo keeps alive stands below this. */
export function gitrepoRefPrefix(gitrepoId: string): string {
  return `${headsRefPrefix()}${hashed(gitrepoId)}/`;
}

/** Who refs may be of. */
export interface RefOwners {
  readonly buildIds: readonly string[];
  readonly gitrepoIds: readonly string[];
}

/** The refs of builds and gitrepos that are none of these. */
export async function listStrayRefs(
  git: GitSurroundings,
  gitDir: string,
  { buildIds, gitrepoIds }: RefOwners,
): Promise<readonly Ref[]> {
  const owned = new Set([...buildIds.map(buildRefPrefix), ...gitrepoIds.map(gitrepoRefPrefix)]);
  const strays: Ref[] = [];
  for (const prefix of [buildsRefPrefix(), headsRefPrefix()]) {
    for (const ref of await listRefs(git, gitDir, prefix)) {
      const end = ref.name.indexOf('/', prefix.length);
      if (!owned.has(ref.name.slice(0, end + 1))) strays.push(ref);
    }
  }
  return strays;
}

/** The heads of one branch of a gitrepo. */
export function branchRefPrefix(gitrepoId: string, branch: string): string {
  return `${gitrepoRefPrefix(gitrepoId)}${hashed(branch)}/`;
}

/** The refs below a prefix, which must be one of those made here. */
export async function listRefs(
  git: GitSurroundings,
  gitDir: string,
  prefix: string,
): Promise<readonly Ref[]> {
  const output = await runGit(git, {
    gitDir,
    args: ['for-each-ref', '--format=%(objectname) %(refname)', '--', prefix],
  });
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({ id: assertObjectId(line.slice(0, 40)), name: line.slice(41) }));
}

/** The trees of the commits that the refs below a prefix point to, by ref. */
export async function listRefTrees(
  git: GitSurroundings,
  gitDir: string,
  prefix: string,
): Promise<ReadonlyMap<string, string>> {
  const output = await runGit(git, {
    gitDir,
    args: ['for-each-ref', '--format=%(tree) %(refname)', '--', prefix],
  });
  const lines = output.split('\n').filter((line) => line !== '');
  return new Map(lines.map((line) => [line.slice(41), assertObjectId(line.slice(0, 40))]));
}

/** Changes refs, all or none. Setting what is set and removing what is gone are no errors. */
export async function changeRefs(
  git: GitSurroundings,
  gitDir: string,
  changes: readonly RefChange[],
): Promise<void> {
  if (changes.length === 0) return;
  const input = changes
    .map(({ name, id }) =>
      id === null ? `delete ${name}\n` : `update ${name} ${assertObjectId(id)}\n`,
    )
    .join('');
  const call = { gitDir, args: ['update-ref', '--stdin'], input };
  try {
    await runGit(git, call);
  } catch (error) {
    if (!(await removeStaleLock(error, gitDir))) throw error;
    await runGit(git, call);
  }
}

/**
 * A git that was killed while it changed refs leaves a lock that would stop every later change.
 * Ours hold a lock for moments, so an old one has no owner.
 */
async function removeStaleLock(error: unknown, gitDir: string): Promise<boolean> {
  if (!(error instanceof AppError)) return false;
  const path = /Unable to create '([^'\n]+\.lock)': File exists/.exec(error.message)?.[1];
  if (path === undefined || !resolve(path).startsWith(resolve(gitDir) + sep)) return false;
  const found = await stat(path).catch(() => null);
  if (found === null) return true;
  if (Date.now() - found.mtimeMs < STALE_LOCK_AGE_MS) return false;
  await unlink(path).catch(() => {});
  return true;
}

/** Names of builds, packages and branches may hold what a ref name may not, and differ only in case; their hashes do not. */
function hashed(name: string): string {
  return createHash('sha256').update(name).digest('hex');
}
