import { brokenArchive, quoteName, unsafeEntry } from '../domain/archive-entry.ts';

/**
 * The paths of a build while it is read: which are files, links and folders, so that no entry contradicts another.
 * Costs one map entry per path, whatever the size of the files.
 */
export interface Inventory {
  /** Notes a file; one that was there is replaced, as unpacking would do. @throws {AppError} `archive_broken`, `archive_unsafe` */
  addFile(path: string, sizeBytes: number): void;
  /** Notes a symbolic link; nothing may be stored below it. @throws {AppError} `archive_broken`, `archive_unsafe` */
  addLink(path: string, sizeBytes: number): void;
  /** Notes a folder entry. @throws {AppError} `archive_broken`, `archive_unsafe` */
  addFolder(path: string): void;
  /** The size of a file that was noted, or null if there is no file (a link is none). */
  fileSize(path: string): number | null;
  /** What there is so far. */
  totals(): { readonly files: number; readonly bytes: number };
  /** Folders with nothing in them, which git does not keep; at most `max`. */
  emptyFolders(max: number): string[];
  /** Names that are one and the same where case does not count; at most `max` groups. */
  caseCollisions(max: number): string[][];
}

/** The kinds of path, kept in the lowest bits beside the size: a build may have a million paths. */
const EMPTY_FOLDER = 0;
const FOLDER = 1;
const LINK = 2;
const FILE = 3;
const KINDS = 4;

/** Opens an empty inventory. */
export function openInventory(): Inventory {
  const kinds = new Map<string, number>();
  /** Only paths that are not their own folded form, by that form. Mostly lower-case trees cost nothing here. */
  const pathsByFold = new Map<string, string[]>();
  let files = 0;
  let bytes = 0;
  let lastParent = '';

  function note(path: string, kind: number): void {
    if (!kinds.has(path)) {
      const fold = folded(path);
      if (fold !== path) {
        const paths = pathsByFold.get(fold);
        if (paths === undefined) pathsByFold.set(fold, [path]);
        else paths.push(path);
      }
    }
    kinds.set(path, kind);
  }

  /** Makes sure that every folder above a path is one, and not empty. */
  function noteParents(path: string): void {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')));
    if (parent === lastParent) return;
    for (let end = parent.length; end > 0; end = parent.lastIndexOf('/', end - 1)) {
      const folder = parent.slice(0, end);
      const known = kinds.get(folder);
      if (known === FOLDER) break;
      if (known !== undefined && known % KINDS === LINK) {
        throw unsafeEntry(path, `would be stored through the symbolic link ${quoteName(folder)}`);
      }
      if (known !== undefined && known % KINDS === FILE) throw contradiction(folder);
      note(folder, FOLDER);
    }
    lastParent = parent;
  }

  function addLeaf(path: string, kind: number, sizeBytes: number): void {
    noteParents(path);
    const known = kinds.get(path);
    if (known === FOLDER || known === EMPTY_FOLDER) {
      if (kind === LINK) throw unsafeEntry(path, 'is a symbolic link in the place of a folder');
      throw contradiction(path);
    }
    if (known === undefined) files += 1;
    else bytes -= Math.floor(known / KINDS);
    bytes += sizeBytes;
    note(path, sizeBytes * KINDS + kind);
  }

  return {
    addFile: (path, sizeBytes) => addLeaf(path, FILE, sizeBytes),
    addLink: (path, sizeBytes) => addLeaf(path, LINK, sizeBytes),
    addFolder(path) {
      noteParents(path);
      const known = kinds.get(path);
      if (known === undefined) note(path, EMPTY_FOLDER);
      else if (known !== FOLDER && known !== EMPTY_FOLDER) {
        if (known % KINDS === LINK)
          throw unsafeEntry(path, 'is a folder in the place of a symbolic link');
        throw contradiction(path);
      }
    },
    fileSize(path) {
      const known = kinds.get(path);
      return known !== undefined && known % KINDS === FILE ? Math.floor(known / KINDS) : null;
    },
    totals: () => ({ files, bytes }),
    emptyFolders(max) {
      const found: string[] = [];
      for (const [path, kind] of kinds) {
        if (found.length >= max) break;
        if (kind === EMPTY_FOLDER) found.push(path);
      }
      return found;
    },
    caseCollisions(max) {
      const found: string[][] = [];
      for (const [fold, paths] of pathsByFold) {
        if (found.length >= max) break;
        const all = kinds.has(fold) ? [fold, ...paths] : paths;
        // Two folders become one and lose nothing; their files are compared by themselves.
        if (all.length > 1 && all.some((path) => (kinds.get(path) ?? FOLDER) >= LINK)) {
          found.push(all.toSorted());
        }
      }
      return found;
    },
  };
}

/** A name as macOS and Windows compare it, nearly. */
function folded(path: string): string {
  return path.normalize('NFC').toLowerCase();
}

function contradiction(path: string): Error {
  return brokenArchive(`${quoteName(path)} is both a file and a folder in it`);
}
