import { posix } from 'node:path';
import { AppError } from '../../domain/errors.ts';
import { checkServerPath } from '../operands.ts';

/**
 * The folder beside `path` in which an atomic switch keeps its repository and its releases: `/opt/.web.muster` for
 * `/opt/web`. Its `.git` makes it a clone to whoever brings objects (`stage`).
 */
export function releasesHome(path: string): string {
  checkServerPath(path);
  return posix.join(posix.dirname(path), `.${posix.basename(path)}.muster`);
}

/** The first operands of every script on releases: the path, that folder, and the folder's own name. */
export function releaseOperands(path: string): [string, string, string] {
  const home = releasesHome(path);
  return [path, home, posix.basename(home)];
}

/**
 * A fence as an operand.
 * @throws {AppError} `invalid_input`
 */
export function checkFence(fence: number): string {
  if (!Number.isSafeInteger(fence) || fence < 0) {
    throw new AppError('invalid_input', 'A fence is a whole number from 0 on.');
  }
  return `${fence}`;
}

/**
 * The name of a release as a script has told it: the beginning of a tree's id, and perhaps a number.
 * @throws {AppError} `invalid_input`
 */
export function checkRelease(name: string): string {
  if (!/^[0-9a-f]{12}(-[0-9]{1,2})?$/.test(name)) {
    throw new AppError('invalid_input', `${JSON.stringify(name)} is not the name of a release.`);
  }
  return name;
}
