import { z } from 'zod';
import type { ProviderHttp } from './http.ts';

const User = z.object({ login: z.string() });

/** Where the repositories of an owner are made and found, at a provider of GitHub's kind. */
export interface OwnerPaths {
  readonly create: string;
  find(name: string): Promise<string>;
}

/**
 * Users make their own repositories at another address than those of organizations, so a named owner is compared with
 * the user of the credentials. Who has none (GitHub refuses `/user` to apps) can only act for organizations.
 */
export async function findOwnerPaths(
  http: ProviderHttp,
  owner: string | null,
  signal: AbortSignal,
): Promise<OwnerPaths> {
  const ask = () => http.send({ method: 'GET', path: '/user', signal });
  const pathOf = (login: string, name: string): string =>
    `/repos/${encodeURIComponent(login)}/${encodeURIComponent(name)}`;
  if (owner === null) {
    return {
      create: '/user/repos',
      find: async (name) => pathOf(http.read(await ask(), User).login, name),
    };
  }
  const answer = await ask();
  if (answer.status === 401) throw http.refused(answer);
  const login = User.safeParse(answer.body).data?.login;
  const isSelf = login?.toLowerCase() === owner.toLowerCase();
  return {
    create: isSelf ? '/user/repos' : `/orgs/${encodeURIComponent(owner)}/repos`,
    find: (name) => Promise.resolve(pathOf(isSelf ? login : owner, name)),
  };
}
