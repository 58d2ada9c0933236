import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { rewriteFiles, writeBuild } from './build-files.ts';
import { type BuildShape, changedFiles } from './build-kind.ts';
import { runProgram } from './run-program.ts';

/** One version of a build, in every form in which it is delivered. */
export interface Version {
  readonly number: number;
  /** Its files. */
  readonly directory: string;
  /** The same as a tar.gz. */
  readonly archive: string;
  /** The same as a commit of the repository; the one before is its parent. */
  readonly commit: string;
}

/** Versions of one build, each with one file in a hundred changed since the one before. Made when they are asked for. */
export interface Versions {
  /** A bare git repository with all versions that were made; no ref but `versions/<number>`. */
  readonly repository: string;
  get(number: number): Promise<Version>;
}

/** Dates that are the same in every run, so that commits are, too. */
const AUTHOR = {
  GIT_AUTHOR_NAME: 'bench',
  GIT_AUTHOR_EMAIL: 'bench@example.com',
  GIT_COMMITTER_NAME: 'bench',
  GIT_COMMITTER_EMAIL: 'bench@example.com',
};

export async function openVersions(directory: string, shape: BuildShape): Promise<Versions> {
  const repository = join(directory, 'versions.git');
  await mkdir(directory, { recursive: true });
  await runProgram(['git', 'init', '-q', '--bare', repository]);
  const made: Version[] = [];
  const make = async (): Promise<void> => {
    const number = made.length;
    const previous = made.at(-1);
    const folder = join(directory, `version-${number}`);
    if (previous === undefined) {
      await writeBuild(folder, shape);
    } else {
      await runProgram(['cp', '-al', previous.directory, folder]);
      const indexes = changedIn(number, shape);
      await rewriteFiles(folder, shape, { indexes, version: number });
    }
    const archive = join(directory, `version-${number}.tar.gz`);
    await runProgram(['tar', '-I', 'gzip -1', '-cf', archive, '-C', folder, '.']);
    const commit = await commitFolder(repository, { folder, number, parent: previous?.commit });
    // As a git server has it that is kept well: packed, so that a clone costs it little.
    if (number === 0) await runProgram(['git', '-C', repository, 'repack', '-adbq']);
    made.push({ number, directory: folder, archive, commit });
  };
  return {
    repository,
    get: async (number) => {
      while (made.length <= number) await make();
      const version = made[number];
      if (version === undefined) throw new Error(`Version ${number} was not made.`);
      return version;
    },
  };
}

/** Other files in every version, spread over all folders; of each kind of file as many as it has a part of all. */
function changedIn(version: number, shape: BuildShape): number[] {
  const count = changedFiles(shape);
  const every = Math.floor(shape.files / count);
  return Array.from({ length: count }, (_, i) => i * every + ((i * 37 + version * 13) % every));
}

async function commitFolder(
  repository: string,
  of: { readonly folder: string; readonly number: number; readonly parent: string | undefined },
): Promise<string> {
  const date = `@${1_700_000_000 + of.number * 60} +0000`;
  const env = { ...AUTHOR, GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date };
  const git = async (...args: readonly string[]): Promise<string> =>
    (
      await runProgram(['git', '--git-dir', repository, '--work-tree', of.folder, ...args], env)
    ).stdout.trim();
  await git('add', '-A', '.');
  const tree = await git('write-tree');
  const parent = of.parent === undefined ? [] : ['-p', of.parent];
  const commit = await git('commit-tree', ...parent, '-m', `Version ${of.number}`, tree);
  await git('update-ref', `refs/versions/${of.number}`, commit);
  return commit;
}
