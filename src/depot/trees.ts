import { splitRecords } from './byte-reader.ts';
import { assertObjectId, runGit, streamGit } from './git.ts';
import { type DepotFolder, repositoryPath } from './repository.ts';

/** One file of a tree. */
export interface TreeFile {
  readonly path: string;
  /** `100644`, `100755` for executables, `120000` for symbolic links. */
  readonly mode: string;
  readonly bytes: number;
  /** The id of its content. */
  readonly blob: string;
}

export interface FileChange {
  readonly path: string;
  /** Of the new content, or of what was deleted. */
  readonly bytes: number;
}

/** What turns one tree into another, each list in the order of git's paths. A change of mode alone is a modification. */
export interface TreeDiff {
  readonly added: readonly FileChange[];
  readonly modified: readonly FileChange[];
  readonly deleted: readonly FileChange[];
}

/** The bytes of all files that are new or otherwise. */
export function bytesBrought({ added, modified }: TreeDiff): number {
  return [...added, ...modified].reduce((sum, { bytes }) => sum + bytes, 0);
}

const NUL = 0;
const LINE_FEED = 0x0a;

/** The tree of a commit or of one of the depot's refs. @throws {AppError} `storage_failed` if there is none */
export async function treeOf(
  folder: DepotFolder,
  applicationId: string,
  commitOrRef: string,
): Promise<string> {
  const output = await runGit(folder.git, {
    gitDir: repositoryPath(folder, applicationId),
    args: ['rev-parse', '--verify', '--quiet', `${commitOrRef}^{tree}`, '--'],
  });
  return assertObjectId(output.slice(0, 40));
}

/** Yields the files of a tree in git's order as they are read, however many there are. */
export async function* listFiles(
  folder: DepotFolder,
  applicationId: string,
  tree: string,
  signal?: AbortSignal,
): AsyncGenerator<TreeFile> {
  const output = streamGit(folder.git, {
    gitDir: repositoryPath(folder, applicationId),
    args: ['ls-tree', '-r', '-z', '-l', '--full-tree', assertObjectId(tree), '--'],
    signal,
  });
  for await (const record of splitRecords(output, NUL)) {
    // `<mode> blob <id> <size, padded>\t<path>`
    const tab = record.indexOf('\t');
    const [mode = '', , blob = '', bytes = ''] = record.slice(0, tab).split(/ +/);
    yield { path: record.slice(tab + 1), mode, bytes: Number(bytes), blob };
  }
}

/** Two trees of one application, or commits, of which their trees count. */
export interface DiffOptions {
  readonly applicationId: string;
  readonly from: string;
  readonly to: string;
  readonly signal?: AbortSignal | undefined;
}

/** Compares two trees, file by file; a renamed file is one deleted and one added. */
export async function diffTrees(folder: DepotFolder, o: DiffOptions): Promise<TreeDiff> {
  const gitDir = repositoryPath(folder, o.applicationId);
  const output = streamGit(folder.git, {
    gitDir,
    args: [
      'diff-tree',
      '-r',
      '-z',
      '--raw',
      '--no-renames',
      '--full-index',
      assertObjectId(o.from),
      assertObjectId(o.to),
      '--',
    ],
    signal: o.signal,
  });
  const changes = await parseRawDiff(output);
  const sizes = await blobSizes(folder, {
    gitDir,
    blobs: changes.map(({ blob }) => blob),
    signal: o.signal,
  });
  const diff: Record<keyof TreeDiff, FileChange[]> = { added: [], modified: [], deleted: [] };
  for (const [index, { kind, path }] of changes.entries()) {
    diff[kind].push({ path, bytes: sizes[index] ?? 0 });
  }
  return diff;
}

interface RawChange {
  readonly kind: keyof TreeDiff;
  readonly path: string;
  readonly blob: string;
}

/** Records come in pairs: `:<mode> <mode> <id> <id> <letter>`, then the path. */
async function parseRawDiff(output: AsyncIterable<Buffer>): Promise<RawChange[]> {
  const changes: RawChange[] = [];
  let head: string | null = null;
  for await (const record of splitRecords(output, NUL)) {
    if (head === null) {
      head = record;
      continue;
    }
    const [, , from = '', to = '', letter = ''] = head.split(' ');
    head = null;
    if (letter === 'A') changes.push({ kind: 'added', path: record, blob: to });
    else if (letter === 'D') changes.push({ kind: 'deleted', path: record, blob: from });
    else changes.push({ kind: 'modified', path: record, blob: to });
  }
  return changes;
}

async function blobSizes(
  folder: DepotFolder,
  o: {
    readonly gitDir: string;
    readonly blobs: readonly string[];
    readonly signal?: AbortSignal | undefined;
  },
): Promise<number[]> {
  if (o.blobs.length === 0) return [];
  const output = streamGit(folder.git, {
    gitDir: o.gitDir,
    args: ['cat-file', '--batch-check=%(objectsize)'],
    input: o.blobs.map((blob) => `${assertObjectId(blob)}\n`).join(''),
    signal: o.signal,
  });
  const sizes: number[] = [];
  for await (const line of splitRecords(output, LINE_FEED)) sizes.push(Number(line));
  return sizes;
}
