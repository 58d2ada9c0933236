import { z } from 'zod';
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../domain/passwords.ts';
import { AppAccess, Permissions as StoredPermissions } from '../../domain/permissions.ts';
import { createdTime, listing, next } from './common.ts';
import { text } from './parameters.ts';

const { apps, actions, servers } = StoredPermissions.shape;

const APPS =
  'Application glob → `read`, `write`, `read/write`, or an empty string, which denies. The longest matching glob decides. `_global` is what belongs to no application; no glob matches it.';
const ACTIONS =
  'Application glob → action glob → `execute`. Kept and shown, and decides nothing: Muster offers no actions that are executed by themselves. What prepull and postpull run is run by whoever may deploy.';
const SERVERS = 'Globs of the servers that may be deployed to and initialized on.';

/** What is left out gives nothing. */
const PermissionsInput = z
  .strictObject({
    apps: apps.meta({ description: APPS }),
    actions: actions.meta({ description: ACTIONS }),
    servers: servers.meta({ description: SERVERS }),
  })
  .meta({ description: 'What the user may do; what is left out gives nothing.' });

// The service measures it, once it is known to be a string.
const newPassword = z.string().meta({
  description: `${MIN_PASSWORD_LENGTH} to ${MAX_PASSWORD_LENGTH} characters; stored as a hash, never shown.`,
});

export const UserPath = z.object({ user: z.string().meta({ description: 'Name of the user.' }) });

export const CreateUserQuery = z.strictObject({ username: text('Name of the new user.') });

export const CreateUserBody = z.strictObject({
  password: newPassword,
  permissions: PermissionsInput.default({ apps: {}, actions: {}, servers: [] }),
});

export const ChangeUserBody = z
  .strictObject({
    password: newPassword.exactOptional(),
    permissions: PermissionsInput.exactOptional(),
  })
  .refine((body) => Object.keys(body).length > 0, {
    error: 'must have `password` or `permissions`',
  });

export const User = z
  .object({
    username: z.string().meta({ description: 'Name of the user.' }),
    permissions: z
      .object({
        apps: z.record(z.string(), AppAccess).meta({ description: APPS }),
        actions: z
          .record(z.string(), z.record(z.string(), z.literal('execute')))
          .meta({ description: ACTIONS }),
        servers: z.array(z.string()).meta({ description: SERVERS }),
      })
      .meta({ description: 'What the user may do.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'User', description: 'Who may call the API, without the password.' });

export const UserList = z
  .object({ users: listing(User), next })
  .meta({ id: 'UserList', description: 'Users.' });

const applicationNames = (access: string) =>
  z.array(z.string()).meta({ description: `Applications that the user may ${access}; sorted.` });

export const EffectivePermissions = z
  .object({
    username: z.string().meta({ description: 'Name of the user.' }),
    global: AppAccess.meta({ description: 'Access to what belongs to no application.' }),
    applications: z
      .object({
        read: applicationNames('read only'),
        write: applicationNames('write only'),
        'read/write': applicationNames('read and write'),
      })
      .meta({ description: 'The applications that there are now, by access.' }),
    actions: z.record(z.string(), z.array(z.string())).meta({
      description:
        'Application → globs of actions that `actions` gives; sorted. It decides nothing by now.',
    }),
    servers: z.array(z.string()).meta({
      description: 'The servers that there are now and that the user may deploy to; sorted.',
    }),
  })
  .meta({
    id: 'EffectivePermissions',
    description: 'What a user may do with the applications and servers that there are now.',
  });
