import type { z } from 'zod';
import type { Gitdeploy } from '../../services/gitdeploys.ts';
import type * as schemas from '../schemas/gitdeploys.ts';
import { toAttributes } from './json.ts';
import { toTime } from './time.ts';

export function toGitdeploy(
  application: string,
  gitdeploy: Gitdeploy,
): z.infer<typeof schemas.Gitdeploy> {
  return {
    application,
    name: gitdeploy.name,
    package: gitdeploy.packageName,
    location: {
      path: gitdeploy.path,
      gitrepo: gitdeploy.gitrepo.name,
      default_branch: gitdeploy.branch,
      // The seed's own form, where the seed's own way is gone.
      ...(gitdeploy.switchMode === 'atomic'
        ? { switch: gitdeploy.switchMode, keep_releases: gitdeploy.keepReleases }
        : {}),
    },
    attributes: toAttributes(gitdeploy.attributes),
    options: gitdeploy.options,
    actions: gitdeploy.actions,
    ...(gitdeploy.healthChecks.length > 0 ? { health_checks: [...gitdeploy.healthChecks] } : {}),
    servers: gitdeploy.installations.map(({ server }) => server.name),
    created_datetime: toTime(gitdeploy.createdAt),
  };
}
