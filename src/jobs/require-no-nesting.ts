import { AppError } from '../domain/errors.ts';
import type { GitdeployRow } from '../store/gitdeploys.ts';
import { listServerInstallations } from '../store/installations.ts';
import type { ServerRow } from '../store/servers.ts';
import type { JobDependencies } from './dependencies.ts';

/**
 * Refuses to make a clone inside that of another gitdeploy on the same server, or around it: each would take the files
 * of the other for changes that somebody made there. One that is initialized already stays as it is.
 * @param where.application of the gitdeploy; what is of another one is not named
 * @throws {AppError} `path_occupied`; `details` has the path and, if it is of the same application, the other gitdeploy
 */
export async function requireNoNesting(
  { database }: Pick<JobDependencies, 'database'>,
  where: {
    readonly server: ServerRow;
    readonly application: string;
    readonly gitdeploy: GitdeployRow;
  },
): Promise<void> {
  const { server, application, gitdeploy } = where;
  const { path } = gitdeploy;
  if (gitdeploy.installations.some((installation) => installation.server.name === server.name)) {
    return;
  }
  const installations = await listServerInstallations(database.db, server.id);
  const other = installations.find(
    (each) => isInside(path, each.path) || isInside(each.path, path),
  );
  if (other === undefined) return;
  const isOwn = other.application === application;
  const whose = isOwn
    ? `gitdeploy \`${other.gitdeploy}\` (${other.path})`
    : 'a gitdeploy of another application';
  throw new AppError(
    'path_occupied',
    `${path} would lie ${isInside(path, other.path) ? 'inside' : 'around'} the clone of ${whose} on ${server.name}, and each would take the files of the other for local changes; choose another path, or deinitialize that gitdeploy first.`,
    { details: { path, ...(isOwn ? { gitdeploy: other.gitdeploy } : {}) } },
  );
}

/** Of paths as they are stored: absolute, and without needless parts. */
function isInside(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}
