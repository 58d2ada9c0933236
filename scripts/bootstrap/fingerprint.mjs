import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from './run.mjs';

/** The files below folders of the repository, by path from its root, sorted.
 * @param {readonly string[]} folders @param {(path: string) => boolean} accepts
 * @returns {string[]} */
export function listFiles(folders, accepts) {
  const found = folders.flatMap((folder) =>
    existsSync(join(ROOT, folder))
      ? readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length))
      : [],
  );
  return found.filter(accepts).sort();
}

/** Changes whenever one of the files is changed, added or removed. By size and time, which is a hundred times
 * quicker than reading them all, at the price of a needless build after a fresh checkout.
 * @param {readonly string[]} paths */
export function fingerprint(paths) {
  const hash = createHash('sha256').update(process.version);
  for (const path of paths) {
    const { size, mtimeMs } = statSync(join(ROOT, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest('hex');
}

/** @param {string} stampPath @param {string} value */
export function hasStamp(stampPath, value) {
  try {
    return readFileSync(join(ROOT, stampPath), 'utf8') === value;
  } catch {
    return false;
  }
}

/** @param {string} stampPath @param {string} value */
export function writeStamp(stampPath, value) {
  mkdirSync(dirname(join(ROOT, stampPath)), { recursive: true });
  writeFileSync(join(ROOT, stampPath), value);
}
