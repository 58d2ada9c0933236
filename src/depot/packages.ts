import { quoteName, unsafeLinkReason } from '../domain/archive-entry.ts';
import { AppError } from '../domain/errors.ts';
import { openPackageCutter, type PackageMapDefinition } from '../domain/package-map.ts';
import { openBlobReader } from './blobs.ts';
import { openFastImport } from './fast-import.ts';
import { publishQuarantine, withQuarantine } from './quarantine.ts';
import { listRefTrees, packageRef, packageRefPrefix } from './refs.ts';
import { type DepotFolder, repositoryPath } from './repository.ts';
import { listFiles, type TreeFile } from './trees.ts';

export interface CutOptions {
  readonly applicationId: string;
  /** The tree of the whole build. */
  readonly tree: string;
  /** As `validatePackageMap` gave it. */
  readonly packages: PackageMapDefinition;
  readonly signal?: AbortSignal | undefined;
}

/** A package as it is stored. */
export interface CutPackage {
  readonly tree: string;
  readonly files: number;
  readonly bytes: number;
  /** To be told as warnings. */
  readonly unmatchedPatterns: readonly string[];
}

/** A package as it would be. */
export interface PreviewedPackage {
  readonly files: readonly { readonly from: string; readonly to: string; readonly bytes: number }[];
  readonly unmatchedPatterns: readonly string[];
}

interface PlannedPackage {
  readonly name: string;
  readonly members: readonly { readonly file: TreeFile; readonly to: string }[];
  readonly unmatchedPatterns: readonly string[];
}

const IMPORT_TIMEOUT_MS = 3600 * 1000;
const LINK_MODE = '120000';
const MAX_TARGET_BYTES = 4096;

/**
 * Makes the packages of a build: trees of the blobs it has already. All of them or none; doing it again gives the same trees.
 * @returns what was made, by package name
 * @throws {AppError} `package_map_conflict`, `storage_failed`
 */
export async function cutPackages(
  folder: DepotFolder,
  o: CutOptions & { readonly buildId: string },
): Promise<Record<string, CutPackage>> {
  const planned = await planPackages(folder, o);
  const trees = await withQuarantine(folder, o.applicationId, async (gitDir) => {
    const target = openFastImport(folder.git, {
      gitDir,
      signal: o.signal,
      timeoutMs: IMPORT_TIMEOUT_MS,
    });
    try {
      for (const { name, members } of planned) {
        await target.beginTree(packageRef(o.buildId, name));
        for (const { file, to } of members) {
          await target.addBlob({ path: to, mode: file.mode, blob: file.blob });
        }
      }
      await target.finish();
    } finally {
      await target.close();
    }
    const refPrefix = packageRefPrefix(o.buildId);
    await publishQuarantine(folder, { applicationId: o.applicationId, gitDir, refPrefix });
    return await listRefTrees(folder.git, repositoryPath(folder, o.applicationId), refPrefix);
  });
  return Object.fromEntries(
    planned.map(({ name, members, unmatchedPatterns }) => {
      const tree = trees.get(packageRef(o.buildId, name));
      if (tree === undefined) {
        throw new AppError('storage_failed', `The depot did not store the package "${name}".`);
      }
      return [name, { tree, files: members.length, bytes: sumBytes(members), unmatchedPatterns }];
    }),
  );
}

/** Tells what `cutPackages` would make, and stores nothing. @throws {AppError} `package_map_conflict`, `storage_failed` */
export async function previewPackages(
  folder: DepotFolder,
  o: CutOptions,
): Promise<Record<string, PreviewedPackage>> {
  const planned = await planPackages(folder, o);
  return Object.fromEntries(
    planned.map(({ name, members, unmatchedPatterns }) => [
      name,
      {
        files: members.map(({ file, to }) => ({ from: file.path, to, bytes: file.bytes })),
        unmatchedPatterns,
      },
    ]),
  );
}

async function planPackages(folder: DepotFolder, o: CutOptions): Promise<PlannedPackage[]> {
  const packages = Object.entries(o.packages).map(([name, spec]) => {
    const members: { readonly file: TreeFile; readonly to: string }[] = [];
    return { name, members, cutter: openPackageCutter(name, spec) };
  });
  // While the files come in: trying many patterns on many files in one go would leave no room for anything else.
  for await (const file of listFiles(folder, o.applicationId, o.tree, o.signal)) {
    for (const { members, cutter } of packages) {
      const to = cutter.add(file.path);
      if (to !== null) members.push({ file, to });
    }
  }
  const planned = packages.map(({ name, members, cutter }) => ({
    name,
    members,
    unmatchedPatterns: cutter.finish(),
  }));
  await assertLinksStayInside(folder, o, planned);
  return planned;
}

/**
 * A link that was harmless in the build may leave the package when it moves up: `app/bin/tool → ../lib/tool` without
 * `app/bin/` points beside the package.
 */
async function assertLinksStayInside(
  folder: DepotFolder,
  o: CutOptions,
  planned: readonly PlannedPackage[],
): Promise<void> {
  const moved = planned.flatMap(({ name, members }) =>
    members
      .filter(({ file, to }) => file.mode === LINK_MODE && file.path !== to)
      .map(({ file, to }) => ({ name, file, to })),
  );
  if (moved.length === 0) return;
  const blobs = openBlobReader(folder, o.applicationId, o.signal);
  try {
    for (const { name, file, to } of moved) {
      const target = (await blobs.readWhole(file.blob, MAX_TARGET_BYTES)).toString('utf8');
      const reason = unsafeLinkReason(to, target);
      if (reason === null) continue;
      throw new AppError(
        'package_map_conflict',
        `In package "${name}", ${quoteName(file.path)} would end at ${quoteName(to)}, where it ${reason}; change its prefix or remove_prefix.`,
        { details: { package: name, files: [file.path] } },
      );
    }
  } finally {
    await blobs.close();
  }
}

function sumBytes(members: PlannedPackage['members']): number {
  return members.reduce((sum, { file }) => sum + file.bytes, 0);
}
