import { z } from 'zod';
import { Attributes, GivenAttributes } from './attributes.ts';
import { applicationName, createdTime, listing, next } from './common.ts';
import { flag, flagInBody, nameList, text } from './parameters.ts';

export const CreateGroupQuery = z.strictObject({
  name: text('Name of the new group.'),
  rolling_deploy: flag('Whether its servers are deployed to in slices.').default(false),
});

const gitdeploys = z
  .union([z.array(z.string()), z.array(z.array(z.string()))], {
    error: 'must be a list of names, or a list of lists of names',
  })
  .meta({
    description: 'Names: a list that is deployed at once, or lists that are one after the other.',
  });

const description = z.string().nullish().meta({ description: 'What it is for.' });

export const CreateGroupBody = z.strictObject({
  gitdeploys,
  description,
  attributes: GivenAttributes.optional(),
});

export const ChangeGroupQuery = z.strictObject({
  rolling_deploy: flag('Whether its servers are deployed to in slices.').optional(),
});

export const ChangeGroupBody = z
  .strictObject({
    gitdeploys: gitdeploys.exactOptional(),
    description,
    attributes: GivenAttributes.optional(),
    rolling_deploy: flagInBody('Whether its servers are deployed to in slices.').optional(),
  })
  .optional();

export const GetGroupQuery = z.strictObject({
  environments: nameList(
    'Only servers in any of these; names separated by `+`, `,` or space.',
  ).optional(),
});

export const Group = z
  .object({
    application: applicationName,
    name: z.string().meta({ description: 'Name of the group.' }),
    description: z.string().nullable().meta({ description: 'What it is for.' }),
    attributes: Attributes,
    rolling_deploy: z
      .boolean()
      .meta({ description: 'Whether its servers are deployed to in slices.' }),
    gitdeploys: z
      .union([z.array(z.string()), z.array(z.array(z.string()))])
      .meta({ description: 'Names, as they were given: a list, or lists in their order.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'Group', description: 'Gitdeploys that are deployed together.' });

export const GroupDetails = Group.extend({
  servers: z
    .array(z.string())
    .meta({ description: 'The servers on which all its gitdeploys are initialized, sorted.' }),
}).meta({ id: 'GroupDetails', description: 'A group with its servers.' });

export const GroupList = z
  .object({ application: applicationName, groups: listing(Group), next })
  .meta({ id: 'GroupList', description: 'Groups.' });
