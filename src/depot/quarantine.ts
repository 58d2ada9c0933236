import { mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../domain/errors.ts';
import { storageError } from './git.ts';
import { changeRefs, listRefs } from './refs.ts';
import { type DepotFolder, exists, repositoryPath, withTemporary } from './repository.ts';

const PACK_NAME = /^pack-[0-9a-f]{40}\.(?:pack|rev|idx)$/;

/**
 * Lends a throw-away repository that sees every object of the application's and keeps new ones to itself.
 *
 * A fast-import that dies leaves packs, half packs and crash reports behind; here they vanish with the quarantine, and
 * the application's repository only ever sees complete packs (see `publishQuarantine`).
 */
export async function withQuarantine<T>(
  folder: DepotFolder,
  applicationId: string,
  work: (gitDir: string) => Promise<T>,
): Promise<T> {
  const repository = repositoryPath(folder, applicationId);
  if (!(await exists(repository))) {
    throw new AppError('storage_failed', 'The depot has no repository for this application.', {
      details: { application_id: applicationId },
    });
  }
  return await withTemporary(folder, 'quarantine', async (gitDir) => {
    try {
      // By hand instead of `git init`: this is all that git wants, and it saves a process for each build.
      await mkdir(join(gitDir, 'objects', 'info'), { recursive: true });
      await mkdir(join(gitDir, 'objects', 'pack'));
      await mkdir(join(gitDir, 'refs'));
      await writeFile(join(gitDir, 'HEAD'), 'ref: refs/heads/none\n');
      await writeFile(
        join(gitDir, 'objects', 'info', 'alternates'),
        `../../../${applicationId}.git/objects\n`,
      );
    } catch (error) {
      throw storageError(error);
    }
    return await work(gitDir);
  });
}

/**
 * Takes everything over from a quarantine: first its objects, then its refs below a prefix, all of these at once.
 * A crash in between leaves objects that nothing points to, which is as if they were not there.
 */
export async function publishQuarantine(
  folder: DepotFolder,
  o: { readonly applicationId: string; readonly gitDir: string; readonly refPrefix: string },
): Promise<void> {
  await publishPacks(folder, o.applicationId, o.gitDir);
  const refs = await listRefs(folder.git, o.gitDir, o.refPrefix);
  await changeRefs(folder.git, repositoryPath(folder, o.applicationId), refs);
}

/** Moves the packs of a quarantine into the application's repository. Git sees a pack when its index is there, so that goes last. */
export async function publishPacks(
  folder: DepotFolder,
  applicationId: string,
  quarantine: string,
): Promise<void> {
  const from = join(quarantine, 'objects', 'pack');
  const to = join(repositoryPath(folder, applicationId), 'objects', 'pack');
  try {
    const names = (await readdir(from)).filter((name) => PACK_NAME.test(name));
    names.sort((a, b) => Number(a.endsWith('.idx')) - Number(b.endsWith('.idx')));
    for (const name of names) await rename(join(from, name), join(to, name));
  } catch (error) {
    throw storageError(error);
  }
}
