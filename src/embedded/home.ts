import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, realpath, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../domain/errors.ts';
import { type Account, canEnter } from './account.ts';
import { readOptional } from './files.ts';

/** Where the embedded PostgreSQL keeps its things. */
export interface Home {
  /** `<data directory>/postgres`: the password, the log, and what points to `clusterDirectory`. Muster's alone. */
  readonly ownDirectory: string;
  /** Holds PostgreSQL's `data`; its account may enter it. The same as `ownDirectory` wherever possible. */
  readonly clusterDirectory: string;
}

const POINTER = 'moved-to';
const OWNER = 'owner';
const ALL_BUT_OWNER = 0o077;
const GROUP_MAY_PASS = 0o710;

/**
 * Find or make the places for PostgreSQL's files. A data directory that the account cannot reach, such as one below
 * `/root`, is given a place under `relocateTo`; a pointer in the data directory says which.
 * @throws {AppError} `conflict` if the data directory is a copy, since two servers cannot share one cluster;
 *   `service_unavailable` if the account can reach no place, or the relocated files are gone
 */
export async function prepareHome(
  dataDirectory: string,
  account: Account | undefined,
  relocateTo: string,
): Promise<Home> {
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
  const parent = await realpath(dataDirectory);
  const ownDirectory = join(parent, 'postgres');
  await mkdir(ownDirectory, { recursive: true, mode: 0o700 });
  const moved = await readOptional(join(ownDirectory, POINTER));
  if (moved !== undefined) {
    const clusterDirectory = moved.trim();
    await refuseCopy(ownDirectory, clusterDirectory);
    return { ownDirectory, clusterDirectory };
  }
  if (
    account === undefined ||
    ((await admit(account, parent)) && (await admit(account, ownDirectory)))
  ) {
    return { ownDirectory, clusterDirectory: ownDirectory };
  }
  return { ownDirectory, clusterDirectory: await relocate(ownDirectory, account, relocateTo) };
}

/**
 * Let the account pass through a private directory, and nobody else.
 * @returns false if that would not be enough to reach it
 */
async function admit(account: Account, directory: string): Promise<boolean> {
  if (await canEnter(account, directory)) {
    return true;
  }
  const { mode, uid } = await stat(directory);
  if ((mode & ALL_BUT_OWNER) !== 0 || !(await canEnter(account, dirname(directory)))) {
    return false;
  }
  await chown(directory, uid, account.gid);
  await chmod(directory, GROUP_MAY_PASS);
  return true;
}

/** The name is random: whoever deletes the data directory to begin anew must not meet the old cluster. */
async function relocate(
  ownDirectory: string,
  account: Account,
  relocateTo: string,
): Promise<string> {
  const clusterDirectory = join(relocateTo, randomBytes(6).toString('hex'));
  await mkdir(relocateTo, { recursive: true, mode: 0o755 });
  await mkdir(clusterDirectory, { mode: 0o700 });
  if (!(await admit(account, clusterDirectory))) {
    throw new AppError(
      'service_unavailable',
      `PostgreSQL cannot run as root, and its user ${account.name} can reach neither ${ownDirectory} nor ${relocateTo}; please choose a data directory that it can reach.`,
    );
  }
  await writeFile(join(clusterDirectory, OWNER), `${ownDirectory}\n`);
  await writeFile(join(ownDirectory, POINTER), `${clusterDirectory}\n`);
  return clusterDirectory;
}

/** A data directory may be moved, and takes its cluster along; a copy of it has none of its own. */
async function refuseCopy(ownDirectory: string, clusterDirectory: string): Promise<void> {
  const owner = (await readOptional(join(clusterDirectory, OWNER)))?.trim();
  if (owner === undefined) {
    throw new AppError(
      'service_unavailable',
      `The database of ${ownDirectory} lay in ${clusterDirectory} and is gone; please bring it back, or remove ${ownDirectory} to begin with an empty one.`,
    );
  }
  if (owner === ownDirectory) {
    return;
  }
  if ((await readOptional(join(owner, POINTER)))?.trim() === clusterDirectory) {
    throw new AppError(
      'conflict',
      `${ownDirectory} is a copy of ${owner}, whose database lies in ${clusterDirectory}; please use another data directory.`,
    );
  }
  await writeFile(join(clusterDirectory, OWNER), `${ownDirectory}\n`);
}
