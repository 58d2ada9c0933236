import { sortedUnique } from './code-unit-order.ts';
import type { SnapshotBuild, SnapshotGitdeploy } from './deployment-snapshot.ts';
import { AppError } from './errors.ts';
import { getOrAdd } from './get-or-add.ts';
import { quotedList, shortList } from './quoted.ts';

/** The package that is the whole build; every stored build has it. */
const WHOLE_BUILD = 'master';

const WHY_NOT_STORED = {
  created: 'has no content yet; upload it first',
  storing: 'is still being stored; wait until its upload has ended',
  failed: 'could not be stored; upload it again',
} as const satisfies Record<Exclude<SnapshotBuild['state'], 'stored'>, string>;

/** @throws {AppError} `build_not_stored` */
export function requireStoredBuild(build: SnapshotBuild): void {
  if (build.state === 'stored') return;
  throw new AppError(
    'build_not_stored',
    `The build \`${build.name}\` ${WHY_NOT_STORED[build.state]}.`,
    { details: { build: build.name, state: build.state } },
  );
}

/** @throws {AppError} `package_missing`; `details.missing` is package → the gitdeploys that need it */
export function requirePackages(
  gitdeploys: readonly SnapshotGitdeploy[],
  build: SnapshotBuild,
): void {
  const present = new Set([...build.packages, WHOLE_BUILD]);
  const missing = groupedBy(
    gitdeploys.filter((gitdeploy) => !present.has(gitdeploy.package)),
    (gitdeploy) => gitdeploy.package,
  );
  if (missing.size === 0) return;
  const neededBy = [...missing].map(([name, users]): [string, string[]] => [name, namesOf(users)]);
  const phrases = neededBy.map(([name, users]) => `\`${name}\` (needed by ${quotedList(users)})`);
  throw new AppError(
    'package_missing',
    `The build \`${build.name}\` does not have the package ${shortList(phrases)}; upload a build with a package map that makes it, or change the gitdeploy's package.`,
    {
      details: {
        build: build.name,
        missing: Object.fromEntries(neededBy),
        packages: sortedUnique(present),
      },
    },
  );
}

/**
 * One branch can hold one package only, as a commit is one tree.
 * @throws {AppError} `conflicting_packages`; `details` has the gitrepo, the branch and gitdeploy → package
 */
export function requireOnePackagePerBranch(gitdeploys: readonly SnapshotGitdeploy[]): void {
  for (const sharing of groupedBy(gitdeploys, branchKey).values()) {
    const [first] = sharing;
    if (first === undefined || sharing.every((other) => other.package === first.package)) continue;
    const { gitrepo, branch } = first;
    throw new AppError(
      'conflicting_packages',
      `The gitdeploys ${quotedList(namesOf(sharing))} share the branch \`${branch}\` of the gitrepo \`${gitrepo}\`, but deploy different packages; deploy them one after the other, or give each a branch of its own.`,
      {
        details: {
          gitrepo,
          branch,
          packages: Object.fromEntries(sharing.map((each) => [each.name, each.package])),
        },
      },
    );
  }
}

/**
 * One folder on a server can be the clone of one branch only. Gitdeploys of one branch may share a folder: the
 * second finds it as it should be.
 * @param serversOf the servers on which a gitdeploy is targeted
 * @throws {AppError} `conflict`; `details` has the path, the gitdeploys and the servers they share
 */
export function requireNoPathClash(
  gitdeploys: readonly SnapshotGitdeploy[],
  serversOf: (gitdeploy: string) => readonly string[],
): void {
  for (const [path, sharing] of groupedBy(gitdeploys, (gitdeploy) => gitdeploy.path)) {
    const byBranch = groupedBy(sharing, branchKey);
    if (byBranch.size < 2) continue;
    const clash = findSharedServers([...byBranch.values()], serversOf);
    if (clash === null) continue;
    throw new AppError(
      'conflict',
      `The gitdeploys ${quotedList(clash.gitdeploys)} would share the folder \`${path}\` on ${quotedList(clash.servers)}, but come from different gitrepos or branches; change the path of one, or leave it out.`,
      { details: { path, ...clash } },
    );
  }
}

interface SharedServers {
  readonly gitdeploys: readonly string[];
  readonly servers: readonly string[];
}

function findSharedServers(
  branches: readonly (readonly SnapshotGitdeploy[])[],
  serversOf: (gitdeploy: string) => readonly string[],
): SharedServers | null {
  const firstOn = new Map<string, { readonly branch: number; readonly gitdeploy: string }>();
  for (const [branch, gitdeploys] of branches.entries()) {
    for (const { name } of gitdeploys) {
      const taken = new Map<string, string[]>();
      for (const server of serversOf(name)) {
        const holder = firstOn.get(server);
        if (holder === undefined) firstOn.set(server, { branch, gitdeploy: name });
        else if (holder.branch !== branch) {
          getOrAdd(taken, holder.gitdeploy, () => []).push(server);
        }
      }
      for (const [other, servers] of taken) {
        return { gitdeploys: sortedUnique([other, name]), servers: sortedUnique(servers) };
      }
    }
  }
  return null;
}

/** A space cannot stand in a gitrepo's name, so two different branches never have one key. */
function branchKey(gitdeploy: SnapshotGitdeploy): string {
  return `${gitdeploy.gitrepo} ${gitdeploy.branch}`;
}

function namesOf(gitdeploys: readonly SnapshotGitdeploy[]): string[] {
  return sortedUnique(gitdeploys.map(({ name }) => name));
}

/** In code-unit order of the keys, so that of several faults the same one is told every time. */
function groupedBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) getOrAdd(groups, keyOf(item), () => []).push(item);
  return new Map(sortedUnique(groups.keys()).map((key) => [key, groups.get(key) ?? []]));
}
