import { z } from 'zod';
import { createdTime, drift, listing, next, timeOrNull } from './common.ts';
import { JobSummary } from './jobs.ts';
import { flagInBody, text, wait } from './parameters.ts';

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
    behind: name(
      'With `details=true`: the build that it has missed, as the server was left out of a deployment; null if none.',
    ).optional(),
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

const AUTO_CATCHUP =
  'Whether servers that were left out of a deployment get what they have missed as soon as they are reached again.';

export const ChangeApplicationBody = z
  .strictObject({ auto_catchup: flagInBody(AUTO_CATCHUP).exactOptional() })
  .optional();

export const CatchUpQuery = z.strictObject({
  server: text('Only what this server has missed.').exactOptional(),
  wait,
});

export const CatchUps = z
  .object({
    application: fields.application,
    deployments: z
      .array(
        z.object({
          id: z.uuid().meta({ description: 'Id of the deployment.' }),
          build: z.string().meta({ description: 'The build that it brings.' }),
          servers: z.array(z.string()).meta({ description: 'Names of the servers.' }),
          job: JobSummary,
        }),
      )
      .meta({ description: 'One for each deployment that servers were left out of.' }),
  })
  .meta({ id: 'CatchUps', description: 'What brings servers the builds that they have missed.' });

export const Application = z
  .object({
    ...fields,
    auto_catchup: z.boolean().meta({ description: AUTO_CATCHUP }),
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
