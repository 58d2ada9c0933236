import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** What a folder holds: by path, the file's SHA-256 and whether it can be executed. */
export type Manifest = ReadonlyMap<string, string>;

/** Reads all files of a folder, but for git's own. */
export async function readManifest(folder: string): Promise<Manifest> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((path) => !path.startsWith('.git/'))
    .sort();
  const manifest = new Map<string, string>();
  for (const path of paths) {
    const file = join(folder, path);
    manifest.set(path, fingerprint(await readFile(file), (await stat(file)).mode));
  }
  return manifest;
}

/** The same manifest with other names; what `rename` gives null for is left out. */
export function renamed(manifest: Manifest, rename: (path: string) => string | null): Manifest {
  return new Map(
    [...manifest].flatMap(([path, print]) => {
      const name = rename(path);
      return name === null ? [] : [[name, print] as const];
    }),
  );
}

/** One line per file that is missing, in the way or different. */
export function differences(expected: Manifest, found: Manifest): readonly string[] {
  const missing = [...expected.keys()].filter((path) => !found.has(path));
  const unexpected = [...found.keys()].filter((path) => !expected.has(path));
  const changed = [...expected].filter(
    ([path, print]) => found.has(path) && found.get(path) !== print,
  );
  return [
    ...missing.map((path) => `${path} is missing`),
    ...unexpected.map((path) => `${path} should not be there`),
    ...changed.map(([path]) => `${path} is not what was uploaded`),
  ];
}

/** What a manifest says of one file. */
export function fingerprint(content: Buffer | string, mode = 0o644): string {
  const hash = createHash('sha256').update(content).digest('hex');
  return (mode & 0o100) === 0 ? hash : `${hash} executable`;
}
