import { z } from 'zod';
import { AppError } from './errors.ts';
import type { GitUri } from './git-uri.ts';

/** The services that Muster can make repositories at. */
export const GITPROVIDER_KINDS = ['github', 'gitlab', 'gitea', 'bitbucket'] as const;
export type GitproviderKind = (typeof GITPROVIDER_KINDS)[number];

/** What authenticates at a provider, and whose repositories are made there. Sealed at rest, never shown. */
export const gitproviderAuthSchema = z.object({
  credentials: z.discriminatedUnion('scheme', [
    z.object({ scheme: z.literal('token'), token: z.string() }),
    z.object({ scheme: z.literal('password'), username: z.string(), password: z.string() }),
  ]),
  /** User, organization, group or workspace; null for the one whom the credentials are of. */
  owner: z.string().nullable(),
});
export type GitproviderAuth = z.infer<typeof gitproviderAuthSchema>;

/** A user and password as `git` sends them over HTTP. */
export interface GitLogin {
  readonly username: string;
  readonly password: string;
}

interface Traits {
  /** Base of the public service's REST API. */
  readonly api: string;
  /** What stands behind the address of one's own instance; empty where the base must be given whole. */
  readonly apiPath: string;
  /** Where the public service's pages are, which people give for its API. */
  readonly site: string;
  /** The user that goes with a token over HTTP. */
  readonly tokenUser: string;
}

/**
 * Sources: docs.github.com/rest "Getting started" and "About authentication"; docs.gitlab.com/api/rest and
 * "Personal access tokens"; docs.gitea.com/development/api-usage; support.atlassian.com/bitbucket-cloud "Using API
 * tokens" and "Using access tokens".
 */
const TRAITS: Readonly<Record<GitproviderKind, Traits>> = {
  github: {
    api: 'https://api.github.com',
    apiPath: '',
    site: 'https://github.com',
    tokenUser: 'x-access-token',
  },
  gitlab: {
    api: 'https://gitlab.com/api/v4',
    apiPath: '/api/v4',
    site: 'https://gitlab.com',
    tokenUser: 'oauth2',
  },
  gitea: {
    api: 'https://gitea.com/api/v1',
    apiPath: '/api/v1',
    site: 'https://gitea.com',
    tokenUser: 'x-access-token',
  },
  bitbucket: {
    api: 'https://api.bitbucket.org/2.0',
    apiPath: '/2.0',
    site: 'https://bitbucket.org',
    tokenUser: 'x-token-auth',
  },
};

/**
 * Checks the address of a provider and brings it into one form: no trailing slash.
 * @throws {AppError} `invalid_input`
 */
export function parseGitproviderUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain =
    url !== null &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.username + url.password + url.search + url.hash === '';
  if (isPlain) return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
  throw new AppError(
    'invalid_input',
    'url is not the address of a git provider. Give it as `https://git.example.com`, without user, password or parameters.',
    { details: { parameter: 'url' } },
  );
}

/**
 * The base of a provider's REST API.
 * @param url as `parseGitproviderUrl` gave it, or null for the public service
 */
export function apiBase(kind: GitproviderKind, url: string | null): string {
  const { api, apiPath, site } = TRAITS[kind];
  if (url === null || url === site) return api;
  return url.endsWith(apiPath) ? url : url + apiPath;
}

/** The user and password by which git reaches a provider's repositories over HTTP. */
export function gitLogin(kind: GitproviderKind, { credentials }: GitproviderAuth): GitLogin {
  if (credentials.scheme === 'token') {
    return { username: TRAITS[kind].tokenUser, password: credentials.token };
  }
  const { username, password } = credentials;
  // Atlassian's API tokens go with an address in the REST API, and with this name in git.
  const isApiToken = kind === 'bitbucket' && username.includes('@');
  return { username: isApiToken ? 'x-bitbucket-api-token-auth' : username, password };
}

/**
 * Guards a provider's credentials: they go to the provider alone, and never unencrypted where it speaks TLS.
 * Without this, whoever may make gitrepos could have the token sent to a host of theirs.
 * @throws {AppError} `invalid_input`
 */
export function assertGitproviderHosts(
  uri: Extract<GitUri, { kind: 'http' }>,
  provider: { readonly kind: GitproviderKind; readonly url: string | null; readonly name: string },
): void {
  const api = new URL(apiBase(provider.kind, provider.url));
  const { site } = TRAITS[provider.kind];
  const isPublic = api.origin === new URL(TRAITS[provider.kind].api).origin;
  const host = isPublic ? new URL(site).hostname : api.hostname;
  if (uri.host.toLowerCase() === host && (uri.isEncrypted || api.protocol === 'http:')) {
    return;
  }
  throw new AppError(
    'invalid_input',
    `The repository is at ${uri.origin}, which is not git provider \`${provider.name}\` (${api.protocol}//${host}), so its credentials are not sent there. Correct \`uri\`, or reach it by SSH with a \`keypair\`.`,
    { details: { parameter: 'uri', host: uri.host, gitprovider: provider.name } },
  );
}

/** Every secret in an authentication, to be blotted out of whatever others say. */
export function secretsOf({ credentials }: GitproviderAuth): readonly string[] {
  return credentials.scheme === 'token' ? [credentials.token] : [credentials.password];
}

/** Text of somebody else's without the secrets in it, on at most so many characters, fit for one line of a message. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) clean = clean.replaceAll(secret, '[REDACTED]');
  return clean
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_WORDS);
}

const MAX_WORDS = 1000;
