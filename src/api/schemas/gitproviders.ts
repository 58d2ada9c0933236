import { z } from 'zod';
import {
  GITPROVIDER_KINDS,
  type GitproviderAuth,
  type GitproviderKind,
} from '../../domain/gitprovider.ts';
import { toValidationError } from '../validation-problems.ts';
import { createdTime, listing, next } from './common.ts';
import { text } from './parameters.ts';

export const CreateGitproviderQuery = z.strictObject({
  name: text('Name of the new git provider.'),
});

/** What can stand in a header without being another one. */
const token = (description: string) =>
  z
    .string()
    .min(1)
    .max(4096)
    .regex(/^[\x21-\x7e]+$/, 'must be a token: printable ASCII without spaces')
    .meta({ description });

const username = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[^\p{Cc}:\s]+$/u, 'must be a name without colons or spaces')
  .optional()
  .meta({ description: 'User, together with the password.' });

const password = (description: string) =>
  z
    .string()
    .min(1)
    .max(4096)
    .regex(/^\P{Cc}+$/u, 'must not hold control characters')
    .optional()
    .meta({ description });

/** Becomes part of an address of the API, where it is percent-encoded. */
const owner = (description: string) =>
  z
    .string()
    .min(1)
    .max(255)
    .regex(
      /^[A-Za-z0-9_{][A-Za-z0-9_.{}-]*(?:\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/,
      'must be a name of letters, digits, `.`, `_` or `-`',
    )
    .optional()
    .meta({ description });

const ownUser = 'default: the user of the credentials.';

/** Each way to name the owner is that provider's own word, and `owner` is understood by all. */
function ownerOf(
  given: { owner?: string | undefined },
  special: string | undefined,
): string | null {
  return given.owner ?? special ?? null;
}

function refuseTwoOwners(context: z.RefinementCtx, both: boolean, word: string): void {
  if (!both) return;
  context.addIssue({
    code: 'custom',
    path: [word],
    message: 'says the same as `owner`; give one of them',
  });
}

interface Login {
  readonly token?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** A token, or a user and password: one of the two, and whole. */
function credentialsOf(login: Login, context: z.RefinementCtx): GitproviderAuth['credentials'] {
  const { token, username, password } = login;
  if (token !== undefined && username === undefined && password === undefined) {
    return { scheme: 'token', token };
  }
  if (token === undefined && username !== undefined && password !== undefined) {
    return { scheme: 'password', username, password };
  }
  context.addIssue({
    code: 'custom',
    message: 'must hold either `token`, or both `username` and `password`',
  });
  return z.NEVER;
}

const organization = owner('The same as `owner`.');

const GithubAuth = z
  .strictObject({
    token: token('Personal access token that may create and write repositories.'),
    owner: owner(`User or organization to create repositories for; ${ownUser}`),
    organization,
  })
  .transform((auth, context): GitproviderAuth => {
    refuseTwoOwners(context, Boolean(auth.owner && auth.organization), 'organization');
    return {
      credentials: { scheme: 'token', token: auth.token },
      owner: ownerOf(auth, auth.organization),
    };
  })
  .meta({ description: 'What authenticates at GitHub. Stored encrypted, never shown.' });

const GitlabAuth = z
  .strictObject({
    token: token('Personal or group access token with the scopes `api` and `write_repository`.'),
    owner: owner(`Group or user to create projects for, with its whole path; ${ownUser}`),
    group: owner('The same as `owner`.'),
  })
  .transform((auth, context): GitproviderAuth => {
    refuseTwoOwners(context, Boolean(auth.owner && auth.group), 'group');
    return {
      credentials: { scheme: 'token', token: auth.token },
      owner: ownerOf(auth, auth.group),
    };
  })
  .meta({ description: 'What authenticates at GitLab. Stored encrypted, never shown.' });

const GiteaAuth = z
  .strictObject({
    token: token('Access token that may write repositories.').optional(),
    username,
    password: password('Password of that user, instead of a token.'),
    owner: owner(`User or organization to create repositories for; ${ownUser}`),
    organization,
  })
  .transform((auth, context): GitproviderAuth => {
    refuseTwoOwners(context, Boolean(auth.owner && auth.organization), 'organization');
    return { credentials: credentialsOf(auth, context), owner: ownerOf(auth, auth.organization) };
  })
  .meta({ description: 'What authenticates at Gitea or Forgejo. Stored encrypted, never shown.' });

const BitbucketAuth = z
  .strictObject({
    token: token('Workspace or project access token; needs `workspace`, too.').optional(),
    username,
    password: password('API token (then `username` is the e-mail address) or app password.'),
    app_password: password('The same as `password`.'),
    owner: owner(`Workspace to create repositories in; ${ownUser}`),
    workspace: owner('The same as `owner`.'),
  })
  .transform((auth, context): GitproviderAuth => {
    refuseTwoOwners(context, Boolean(auth.owner && auth.workspace), 'workspace');
    if (auth.password !== undefined && auth.app_password !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['app_password'],
        message: 'says the same as `password`; give one of them',
      });
    }
    const login = { ...auth, password: auth.password ?? auth.app_password };
    return { credentials: credentialsOf(login, context), owner: ownerOf(auth, auth.workspace) };
  })
  .meta({ description: 'What authenticates at Bitbucket Cloud. Stored encrypted, never shown.' });

const url = z.string().min(1).max(1024).optional().meta({
  description:
    'Address of an own instance, http or https; for GitHub Enterprise Server `https://HOST/api/v3`. Default: the public service.',
});

const AUTHS = {
  github: GithubAuth,
  gitlab: GitlabAuth,
  gitea: GiteaAuth,
  bitbucket: BitbucketAuth,
};

const bodyOf = <const Kind extends keyof typeof AUTHS>(kind: Kind, title: string) =>
  z.strictObject({
    type: z.literal(kind).meta({ description: `${title}.` }),
    url,
    auth: AUTHS[kind],
  });

export const CreateGitproviderBody = z
  .discriminatedUnion(
    'type',
    [
      bodyOf('github', 'GitHub'),
      bodyOf('gitlab', 'GitLab'),
      bodyOf('gitea', 'Gitea or Forgejo'),
      bodyOf('bitbucket', 'Bitbucket Cloud'),
    ],
    {
      error: `must be one of ${GITPROVIDER_KINDS.map((kind) => `\`${kind}\``).join(', ')}`,
    },
  )
  .meta({ description: 'The service, where it is, and what authenticates there.' });

/** The kind is known to the row alone, so `auth` is read later, by `gitproviderAuthReader`. */
export const ChangeGitproviderBody = z
  .strictObject({
    type: z
      .unknown()
      .optional()
      .refine((type) => type === undefined, 'cannot change; make another git provider')
      .meta({ description: 'Cannot change.' }),
    url: url.nullable().meta({
      description:
        'Another address, or null for the public service; one on another host needs `auth` as well.',
    }),
    auth: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'What authenticates there from now on, as `type` wants it.' }),
  })
  .refine((body) => body.url !== undefined || body.auth !== undefined, {
    error: 'must hold `url`, `auth` or both',
  })
  .meta({ description: 'What is to change.' });

/** Reads the `auth` of a provider of which the kind is found out later. */
export function gitproviderAuthReader(
  auth: Readonly<Record<string, unknown>>,
): (kind: GitproviderKind) => GitproviderAuth {
  return (kind) => {
    const schema = z.strictObject({ auth: AUTHS[kind] });
    const value = { auth };
    const read = schema.safeParse(value);
    if (read.success) return read.data.auth;
    throw toValidationError([{ part: 'body', schema, value, issues: read.error.issues }]);
  };
}

export const Gitprovider = z
  .object({
    name: z.string().meta({ description: 'Name of the git provider.' }),
    type: z.enum(GITPROVIDER_KINDS).meta({ description: 'Which service it is.' }),
    url: z.string().meta({ description: 'Base of its REST API, as Muster calls it.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'Gitprovider', description: 'A git provider, without what authenticates there.' });

export const GitproviderList = z
  .object({ gitproviders: listing(Gitprovider), next })
  .meta({ id: 'GitproviderList', description: 'Git providers.' });
