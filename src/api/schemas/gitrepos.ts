import { z } from 'zod';
import { applicationName, createdTime, listing, next } from './common.ts';
import { JobSummary } from './jobs.ts';
import { flag, text, wait } from './parameters.ts';

export const CreateGitrepoQuery = z.strictObject({
  name: text('Name of the new gitrepo.'),
  existing: flag(
    'Whether the repository exists already: its history is then gone on from. Needs `uri`. Else it is created.',
  ).optional(),
  gitprovider: text(
    "Name of the git provider to create it at, or whose credentials open the existing one over https. Without it and `uri` the repository lives in Muster's own store.",
  ).optional(),
  uri: text(
    'Where the existing repository is: `https://host/path.git`, `ssh://git@host/path.git` or `git@host:path.git`.',
  ).optional(),
  keypair: text(
    'Name of the keypair to reach it by SSH with; without it a created one is reached over https.',
  ).optional(),
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
    gitprovider: z.string().nullable().meta({ description: 'Name of its git provider.' }),
    existing: z.boolean().meta({ description: 'Whether it was there before Muster.' }),
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
