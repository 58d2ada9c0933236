import { z } from 'zod';
import type { ProviderAccess, ProviderClient } from './client.ts';
import { createOnce } from './create-once.ts';
import { wordsOf } from './error-words.ts';
import { basicAuthorization, openProviderHttp, type ProviderHttp } from './http.ts';

const Repository = z.object({
  description: z.string().nullish(),
  links: z.object({ clone: z.array(z.object({ name: z.string(), href: z.string() })) }),
});
const User = z.object({ username: z.string() });

/** Bitbucket Cloud's REST API 2.0. Source: developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories. */
export function openBitbucket(access: ProviderAccess): ProviderClient {
  const { credentials, owner } = access.auth;
  const http = openProviderHttp({
    access,
    headers: {
      authorization:
        credentials.scheme === 'token'
          ? `Bearer ${credentials.token}`
          : basicAuthorization(credentials.username, credentials.password),
    },
    wordsOf,
  });
  return {
    async createRepository({ name, description }, signal) {
      const workspace = owner ?? (await findWorkspace(http, credentials, signal));
      // A slug has no capital letters; the name that people see keeps them.
      const path = `/repositories/${encodeURIComponent(workspace)}/${encodeURIComponent(name.toLowerCase())}`;
      return createOnce({
        http,
        description,
        create: () =>
          http.send({
            method: 'POST',
            path,
            body: { scm: 'git', name, description, is_private: true },
            signal,
          }),
        isTaken: ({ status, body }) =>
          status === 400 && wordsOf(body).some((words) => /already exists/i.test(words)),
        find: () => http.send({ method: 'GET', path, signal }),
        read: (answer) => {
          const { links, description: found } = http.read(answer, Repository);
          const linkOf = (kind: string): string =>
            links.clone.find((link) => link.name === kind)?.href ?? '';
          return {
            sshUri: linkOf('ssh'),
            // Bitbucket puts the name of the user into it; credentials never stand in a `uri` of Muster's.
            httpUri: linkOf('https').replace(/^(https?:\/\/)[^/@]*@/, '$1'),
            description: found ?? null,
          };
        },
      });
    },
  };
}

/** Everybody has a workspace of their own name. API tokens go with an address, which is none. */
async function findWorkspace(
  http: ProviderHttp,
  credentials: ProviderAccess['auth']['credentials'],
  signal: AbortSignal,
): Promise<string> {
  if (credentials.scheme === 'password' && !credentials.username.includes('@')) {
    return credentials.username;
  }
  return http.read(await http.send({ method: 'GET', path: '/user', signal }), User).username;
}
