import { z } from 'zod';
import { applicationName, createdTime, listing, next } from './common.ts';
import { JobSummary } from './jobs.ts';
import { flag, text, wait } from './parameters.ts';

export const CreateGitrepoQuery = z.strictObject({
  name: text('Name of the new gitrepo.'),
  existing: flag('Whether the repository exists at the provider. Not available yet.').optional(),
  gitprovider: text('Name of the git provider. Not available yet.').optional(),
  uri: text('Where the existing repository is. Not available yet.').optional(),
  keypair: text('Name of the keypair to reach it with.').optional(),
  wait,
});

const commit = z.string().nullable().meta({ description: 'Id of the last commit.' });
const build = z.string().nullable().meta({ description: 'The build last committed.' });

export const Gitrepo = z
  .object({
    application: applicationName,
    name: z.string().meta({ description: 'Name of the gitrepo.' }),
    uri: z
      .string()
      .nullable()
      .meta({ description: "Where it is at the provider; null in Muster's own store." }),
    keypair: z.string().nullable().meta({ description: 'Name of the keypair to reach it with.' }),
    branch: z.string().nullable().meta({ description: 'The branch that changed last.' }),
    head_commit: commit,
    committed_build: build,
    branches: z
      .array(
        z.object({
          branch: z.string().meta({ description: 'Name of the branch.' }),
          head_commit: commit,
          committed_build: build,
        }),
      )
      .meta({ description: 'All branches, the one that changed last first.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'Gitrepo', description: 'A repository that packages are committed to.' });

export const CreatedGitrepo = Gitrepo.extend({ job: JobSummary }).meta({
  id: 'CreatedGitrepo',
  description: 'A gitrepo and the job that makes it.',
});

export const GitrepoList = z
  .object({ application: applicationName, gitrepos: listing(Gitrepo), next })
  .meta({ id: 'GitrepoList', description: 'Gitrepos.' });
