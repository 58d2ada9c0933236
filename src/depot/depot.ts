import type { Readable } from 'node:stream';
import { type WriteArchiveOptions, writeArchive } from './archives.ts';
import { rememberTrees } from './commit-trees.ts';
import {
  type CommitOptions,
  commitTree,
  contentOf,
  dropHeads,
  keepHead,
  parentOf,
} from './commits.ts';
import { keepDiffs } from './diff-cache.ts';
import { assertObjectId } from './git.ts';
import type { DepotGuard, GuardRequest } from './guard.ts';
import { type IngestedBuild, type IngestOptions, ingestBuild } from './ingest.ts';
import { makePackFormChooser, type PackFormRequest } from './pack-form.ts';
import {
  type CutOptions,
  type CutPackage,
  cutPackages,
  type PreviewedPackage,
  previewPackages,
} from './packages.ts';
import { openPackStore, type PackForm, type PackOptions, type PreparedPack } from './packs.ts';
import { buildRefPrefix, changeRefs, listRefs } from './refs.ts';
import {
  fetchBranch,
  hasCommit,
  isAncestor,
  listRemoteHeads,
  pushCommit,
  type RemoteHeads,
  type RemoteOptions,
} from './remotes.ts';
import {
  createRepository,
  exists,
  openDepotFolder,
  removeRepository,
  repositoryPath,
} from './repository.ts';
import {
  type DiffOptions,
  diffTrees,
  listFiles,
  type TreeDiff,
  type TreeFile,
  treeOf,
} from './trees.ts';
import {
  listUpkeepNeeds,
  type MaintainOptions,
  maintainRepository,
  noteGarbage,
  type UpkeepReport,
} from './upkeep.ts';

/**
 * The builds of all applications as git objects: one bare repository per application (DESIGN.md decisions 3 to 5).
 * Builds, packages and commits are named by object ids; which id is which build is known to the store alone.
 * Everything may be done twice, and by several processes at once. Every method may throw `storage_failed`.
 *
 * What writes objects does so under the guard that the depot was opened with: by itself where the method also makes the
 * ref that keeps them alive, else within `write`.
 */
export interface Depot {
  /** Makes an application's repository; does nothing if it is there. */
  createRepository(applicationId: string): Promise<void>;
  /** Removes an application's repository; does nothing if there is none. */
  removeRepository(applicationId: string): Promise<void>;
  /** See `ingestBuild`. */
  ingestBuild(o: IngestOptions): Promise<IngestedBuild>;
  /** See `cutPackages`. */
  cutPackages(o: CutOptions & { readonly buildId: string }): Promise<Record<string, CutPackage>>;
  /** See `previewPackages`. */
  previewPackages(o: CutOptions): Promise<Record<string, PreviewedPackage>>;
  /** See `listFiles`. */
  listFiles(applicationId: string, tree: string): AsyncIterable<TreeFile>;
  /** See `writeArchive`. */
  writeArchive(o: WriteArchiveOptions): Promise<Readable>;
  /** See `diffTrees`. */
  diffTrees(o: DiffOptions): Promise<TreeDiff>;
  /** What the commit `to` changes against its parent `from`, if this process has made and compared it; else null. */
  knownChanges(o: Omit<DiffOptions, 'signal'>): TreeDiff | null;
  /** Lets a build and its packages go; what no commit needs is no longer kept alive. Does nothing if it is gone. */
  deleteBuild(applicationId: string, buildId: string): Promise<void>;
  /** Has upkeep come by, as something is let go of. Does nothing if there is no repository. */
  noteGarbage(applicationId: string): Promise<void>;
  /**
   * Lends what writes objects that something else must keep alive before `work` ends. Nothing is deleted from the
   * application's depot meanwhile. @param work see `DepotGuard.whileWriting`
   */
  write<T>(
    o: GuardRequest,
    work: (writer: DepotWriter, signal: AbortSignal) => Promise<T>,
  ): Promise<T>;
  /** The tree of a commit. */
  treeOf(applicationId: string, commit: string): Promise<string>;
  /** The first parent of a commit, or null if it has none. */
  parentOf(applicationId: string, commit: string): Promise<string | null>;
  /** A commit as git stores it. */
  contentOf(applicationId: string, commit: string): Promise<string>;
  /** See `dropHeads`. */
  dropHeads(applicationId: string, gitrepoId: string): Promise<void>;
  /** See `listRemoteHeads`. */
  listRemoteHeads(o: RemoteOptions): Promise<RemoteHeads>;
  /** See `pushCommit`. */
  pushCommit(
    o: RemoteOptions & { readonly branch: string; readonly commit: string },
  ): Promise<'pushed' | 'moved'>;
  /** See `hasCommit`. */
  hasCommit(applicationId: string, commit: string): Promise<boolean>;
  /** See `isAncestor`. */
  isAncestor(o: {
    readonly applicationId: string;
    readonly ancestor: string;
    readonly commit: string;
  }): Promise<boolean>;
  /** See `listUpkeepNeeds`. */
  listUpkeepNeeds(o: { readonly graceMs: number }): Promise<string[]>;
  /** See `maintainRepository`. */
  maintain(o: MaintainOptions): Promise<UpkeepReport | null>;
  /** See `makePackFormChooser`. */
  choosePackForm(o: PackFormRequest): Promise<PackForm>;
  /** See `PackStore.prepare`. */
  preparePack(o: PackOptions): Promise<PreparedPack>;
}

/** Makes commits in the depot that nothing keeps alive before `keepHead`; only to be had by `Depot.write`. */
export interface DepotWriter {
  /** See `commitTree`. */
  commitTree(o: CommitOptions): Promise<string>;
  /** See `fetchBranch`. */
  fetchBranch(o: RemoteOptions & { readonly branch: string }): Promise<string>;
  /** See `keepHead`. */
  keepHead(o: {
    readonly applicationId: string;
    readonly gitrepoId: string;
    readonly branch: string;
    readonly commit: string;
    readonly parent?: string;
  }): Promise<void>;
}

/** Where git is commonly found. */
const DEFAULT_SEARCH_PATH =
  '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin';

/**
 * Opens the depot, making the folder if need be, and clears away what a crash left there over a day ago.
 * @param o.directory absolute @param o.searchPath the PATH in which `git` is looked for
 * @param o.guard of all processes that open this folder
 * @throws {AppError} `storage_failed` if git is missing or too old, or the folder cannot be written
 */
export async function openDepot(o: {
  readonly directory: string;
  readonly searchPath?: string;
  readonly guard: DepotGuard;
}): Promise<Depot> {
  const { guard } = o;
  const folder = await openDepotFolder({
    directory: o.directory,
    searchPath: o.searchPath ?? DEFAULT_SEARCH_PATH,
  });
  const packs = openPackStore(folder);
  const trees = rememberTrees((applicationId, commit) =>
    treeOf(folder, applicationId, assertObjectId(commit)),
  );
  // By trees where they are known, so that what two commits differ in is computed once, however it is asked for.
  const keptDiffs = keepDiffs((options: DiffOptions) => diffTrees(folder, options));
  const byTrees = <O extends DiffOptions>(options: O): O => ({
    ...options,
    from: trees.orSelf(options.from),
    to: trees.orSelf(options.to),
  });
  const diff = (options: DiffOptions): Promise<TreeDiff> => keptDiffs.get(byTrees(options));
  const writer: DepotWriter = {
    commitTree: async (options) => {
      const commit = await commitTree(folder, options);
      trees.note(commit, options.tree, options.parent);
      return commit;
    },
    fetchBranch: (options) => fetchBranch(folder, options),
    keepHead: (options) => keepHead(folder, options),
  };
  return {
    createRepository: (applicationId) => createRepository(folder, applicationId),
    removeRepository: (applicationId) => removeRepository(folder, applicationId),
    ingestBuild: (options) =>
      guard.whileWriting(options, (signal) => ingestBuild(folder, { ...options, signal })),
    cutPackages: (options) =>
      guard.whileWriting(options, (signal) => cutPackages(folder, { ...options, signal })),
    previewPackages: (options) => previewPackages(folder, options),
    listFiles: (applicationId, tree) => listFiles(folder, applicationId, tree),
    writeArchive: (options) => writeArchive(folder, options),
    diffTrees: diff,
    knownChanges: (options) =>
      trees.parentOf(options.to) === options.from ? keptDiffs.peek(byTrees(options)) : null,
    async noteGarbage(applicationId) {
      if (!(await exists(repositoryPath(folder, applicationId)))) return;
      await noteGarbage(folder, applicationId);
    },
    async deleteBuild(applicationId, buildId) {
      const gitDir = repositoryPath(folder, applicationId);
      // An upload that failed before anything was stored may be the first of its application.
      if (!(await exists(gitDir))) return;
      const refs = await listRefs(folder.git, gitDir, buildRefPrefix(buildId));
      await changeRefs(
        folder.git,
        gitDir,
        refs.map(({ name }) => ({ name, id: null })),
      );
      if (refs.length > 0) await noteGarbage(folder, applicationId);
    },
    write: (request, work) => guard.whileWriting(request, (signal) => work(writer, signal)),
    treeOf: (applicationId, commit) => trees.of(applicationId, commit),
    parentOf: (applicationId, commit) => parentOf(folder, applicationId, commit),
    contentOf: (applicationId, commit) => contentOf(folder, applicationId, commit),
    async dropHeads(applicationId, gitrepoId) {
      await dropHeads(folder, applicationId, gitrepoId);
      await noteGarbage(folder, applicationId);
    },
    listRemoteHeads: (options) => listRemoteHeads(folder, options),
    pushCommit: (options) => pushCommit(folder, options),
    hasCommit: (applicationId, commit) => hasCommit(folder, applicationId, commit),
    isAncestor: (options) => isAncestor(folder, options),
    listUpkeepNeeds: (options) => listUpkeepNeeds(folder, options),
    maintain: (options) => maintainRepository(folder, guard, options),
    choosePackForm: makePackFormChooser({ trees, diffTrees: diff }),
    preparePack: (options) => packs.prepare(options),
  };
}
