import type { GitproviderKind } from '../../domain/gitprovider.ts';
import { openBitbucket } from './bitbucket.ts';
import type { ProviderAccess, ProviderClient } from './client.ts';
import { openGitea } from './gitea.ts';
import { openGithub } from './github.ts';
import { openGitlab } from './gitlab.ts';

const OPENERS: Readonly<Record<GitproviderKind, (access: ProviderAccess) => ProviderClient>> = {
  github: openGithub,
  gitlab: openGitlab,
  gitea: openGitea,
  bitbucket: openBitbucket,
};

/** Opens the REST API of a provider; nothing is sent yet. */
export function openProvider(access: ProviderAccess): ProviderClient {
  return OPENERS[access.kind](access);
}
