import { z } from 'zod';
import { HealthChecks } from '../../domain/health-check.ts';
import { Attributes, GivenAttributes } from './attributes.ts';
import { applicationName, createdTime, listing, next } from './common.ts';
import { JobSummary } from './jobs.ts';
import { flag, flagInBody, text, wait } from './parameters.ts';

export const CreateGitdeployQuery = z.strictObject({ name: text('Name of the new gitdeploy.') });

const switchMode = z.enum(['in_place', 'atomic']);
const MAX_KEPT_RELEASES = 100;

const Location = z
  .strictObject({
    path: z
      .string()
      .meta({ description: 'Absolute path of the clone on servers; its parent must exist.' }),
    gitrepo: z.string().meta({ description: 'Name of the gitrepo.' }),
    default_branch: z.string().meta({ description: 'The branch to deploy.' }),
    switch: switchMode.exactOptional().meta({
      description:
        'How a build is switched to: `in_place`, `path` is the clone and local changes are merged; or `atomic`, `path` is a symbolic link that moves to another release in one step, and local changes stay in the release before. Default `in_place`.',
    }),
    keep_releases: z.number().int().min(2).max(MAX_KEPT_RELEASES).exactOptional().meta({
      description:
        'Only with `atomic`: how many releases stay on a server, the present one among them. Default 5.',
    }),
  })
  .meta({ description: 'Where it is deployed, and how.' });

const Options = z
  .strictObject({
    favor: z.enum(['ours', 'theirs']).exactOptional().meta({
      description: 'Whose lines win: `ours` the server, `theirs` the build. Default `ours`.',
    }),
    'ignore-whitespace': flagInBody(
      'Whether changes of white space alone are no conflict. Default true.',
    ).exactOptional(),
    gitignore: z
      .array(z.string())
      .exactOptional()
      .meta({ description: 'Lines as in .gitignore: what is not looked at on servers.' }),
  })
  .meta({
    description:
      'How local changes on a server meet what comes. An atomic switch merges nothing: of these it only heeds `gitignore`, for files that are not kept when their release is removed.',
  });

const states = z.record(z.string(), z.unknown());

const Actions = z
  .strictObject({
    prepull: states.exactOptional().meta({ description: 'States applied right before.' }),
    postpull: states.exactOptional().meta({ description: 'States applied right after.' }),
  })
  .meta({
    description: "What runs on the server around a deployment, in Salt's state form, by unique id.",
  });

const changeable = {
  package: z.string().min(1).meta({ description: 'The package to deploy; it need not exist yet.' }),
  location: Location,
  attributes: GivenAttributes.optional(),
  options: Options.optional(),
  actions: Actions.optional(),
  health_checks: HealthChecks.optional().meta({
    description:
      'What must hold after postpull, one after the other; a step whose server does not become healthy fails and is taken back.',
  }),
  action: Actions.optional().meta({ description: 'Another name of `actions`.' }),
};

/** `action` is the word of the seed's prose, `actions` that of its examples. */
function mergeActions<Body extends { action?: unknown; actions?: unknown }>(
  { action, ...body }: Body,
  check: z.RefinementCtx,
): Omit<Body, 'action'> {
  if (action === undefined) return body;
  if (body.actions === undefined) return { ...body, actions: action };
  check.addIssue({ code: 'custom', message: 'has both `action` and `actions`; give one of them' });
  return z.NEVER;
}

export const CreateGitdeployBody = z.strictObject(changeable).transform(mergeActions);
export const ChangeGitdeployBody = z
  .strictObject({
    ...changeable,
    package: changeable.package.exactOptional(),
    location: Location.exactOptional(),
  })
  .transform(mergeActions);

export const InstallQuery = z.strictObject({
  initialize: flag('Make the clones.').default(false),
  deinitialize: flag('Remove what initializing made.').default(false),
  wait,
});

const MAX_GLOB_LENGTH = 256;

const servers = z
  .union([z.array(z.string()), z.string().max(MAX_GLOB_LENGTH)], {
    error: 'must be a list of names, or a glob over names in one string',
  })
  .meta({ description: 'Names of servers, or a glob that matches them.' });

export const InstallBody = z
  .union(
    [
      z.strictObject({ servers }),
      z
        .string()
        .max(MAX_GLOB_LENGTH)
        .transform((glob) => ({ servers: glob })),
    ],
    {
      error: 'must be an object with `servers`, or a glob over names in one string',
    },
  )
  .meta({ description: 'The servers: an object, or a glob alone.' });

export const Gitdeploy = z
  .object({
    application: applicationName,
    name: z.string().meta({ description: 'Name of the gitdeploy.' }),
    package: z.string().meta({ description: 'The package that is deployed.' }),
    location: z
      .object({
        path: z.string().meta({ description: 'Path of the clone on servers.' }),
        gitrepo: z.string().meta({ description: 'Name of the gitrepo.' }),
        default_branch: z.string().meta({ description: 'The branch that is deployed.' }),
        switch: switchMode
          .exactOptional()
          .meta({ description: 'Only where it is `atomic`; all others switch in place.' }),
        keep_releases: z
          .number()
          .int()
          .exactOptional()
          .meta({ description: 'Only with `atomic`: how many releases stay on a server.' }),
      })
      .meta({ description: 'Where it is deployed.' }),
    attributes: Attributes,
    options: z
      .object({
        favor: z.enum(['ours', 'theirs']).meta({ description: 'Whose lines win.' }),
        'ignore-whitespace': z
          .boolean()
          .meta({ description: 'Whether changes of white space alone are no conflict.' }),
        gitignore: z.array(z.string()).meta({ description: 'What is not looked at on servers.' }),
      })
      .meta({ description: 'How local changes on a server meet what comes.' }),
    actions: z
      .object({
        prepull: states.meta({ description: 'States applied right before.' }),
        postpull: states.meta({ description: 'States applied right after.' }),
      })
      .meta({ description: 'What runs on the server around a deployment.' }),
    health_checks: z
      .array(z.unknown())
      .exactOptional()
      .meta({ description: 'What must hold after postpull; absent if nothing is looked at.' }),
    servers: z.array(z.string()).meta({ description: 'Where it is initialized, sorted.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'Gitdeploy', description: 'A package, and where on servers it goes.' });

export const InstalledGitdeploy = Gitdeploy.extend({
  requested_servers: z
    .array(z.string())
    .meta({ description: 'The servers that the job works on, sorted.' }),
  job: JobSummary,
}).meta({
  id: 'InstalledGitdeploy',
  description: 'A gitdeploy and the job that initializes or deinitializes it.',
});

export const GitdeployList = z
  .object({ application: applicationName, gitdeploys: listing(Gitdeploy), next })
  .meta({ id: 'GitdeployList', description: 'Gitdeploys.' });
