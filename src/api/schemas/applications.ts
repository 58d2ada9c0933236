import { z } from 'zod';
import { createdTime, drift, listing, next, timeOrNull } from './common.ts';

export const CHILD_RESOURCES = [
  'builds',
  'packagemaps',
  'gitrepos',
  'gitdeploys',
  'groups',
  'deployments',
] as const;

const name = (what: string) => z.string().nullable().meta({ description: what });

const CensusLeaf = z
  .object({
    committed: name("The build last committed to the gitdeploy's gitrepo."),
    deployed: name('The build that is now on the server.'),
    deployed_commit: name('With `details=true`: the commit that is on the server.').optional(),
    deployed_at: timeOrNull('With `details=true`: when it came there.').optional(),
    deployment_id: name('With `details=true`: the deployment that brought it.').optional(),
    drift: drift.optional(),
    observed_at: timeOrNull('With `details=true`: when that was last looked at.').optional(),
  })
  .meta({ id: 'CensusLeaf', description: 'What one server has of one gitdeploy.' });

const byName = <Value extends z.ZodType>(value: Value, key: string) =>
  z.record(z.string(), value).meta({ description: `By ${key}.` });

export const Census = byName(
  byName(byName(byName(CensusLeaf, 'gitdeploy'), 'server'), 'group; `-` for none'),
  'environment',
).meta({
  id: 'Census',
  description: 'Environment → group → server → gitdeploy → what is committed and deployed.',
});

const fields = {
  application: z.string().meta({ description: 'Name of the application.' }),
  created_datetime: createdTime,
};

export const Application = z
  .object({
    ...fields,
    resources: z
      .array(z.enum(CHILD_RESOURCES))
      .meta({ description: 'What an application consists of; each is a list below its URL.' }),
    census: Census.optional(),
  })
  .meta({ id: 'Application', description: 'An application.' });

export const ApplicationList = z
  .object({
    applications: listing(z.object(fields)),
    next,
  })
  .meta({ id: 'ApplicationList', description: 'Applications.' });
