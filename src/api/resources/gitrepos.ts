import type { z } from 'zod';
import type { Gitrepo } from '../../services/gitrepos.ts';
import type * as schemas from '../schemas/gitrepos.ts';
import { toTime } from './time.ts';

export function toGitrepo(application: string, gitrepo: Gitrepo): z.infer<typeof schemas.Gitrepo> {
  const branches = gitrepo.branches.map((branch) => ({
    branch: branch.name,
    head_commit: branch.headCommit,
    committed_build: branch.committedBuild?.name ?? null,
  }));
  return {
    application,
    name: gitrepo.name,
    uri: gitrepo.uri,
    gitprovider: gitrepo.gitprovider?.name ?? null,
    existing: gitrepo.existing,
    keypair: gitrepo.keypair?.name ?? null,
    ...(branches[0] ?? { branch: null, head_commit: null, committed_build: null }),
    branches,
    created_datetime: toTime(gitrepo.createdAt),
  };
}
