import { z } from 'zod';
import type { ProviderAccess, ProviderClient } from './client.ts';
import { createOnce } from './create-once.ts';
import { wordsOf } from './error-words.ts';
import { basicAuthorization, openProviderHttp } from './http.ts';
import { findOwnerPaths } from './owner.ts';

const Repository = z.object({
  ssh_url: z.string(),
  clone_url: z.string(),
  description: z.string().nullish(),
});

/** Gitea's API v1, also of Forgejo. Source: its swagger at /api/swagger, `createCurrentUserRepo` and `createOrgRepo`. */
export function openGitea(access: ProviderAccess): ProviderClient {
  const { credentials, owner } = access.auth;
  const http = openProviderHttp({
    access,
    headers: {
      authorization:
        credentials.scheme === 'token'
          ? `token ${credentials.token}`
          : basicAuthorization(credentials.username, credentials.password),
    },
    wordsOf,
  });
  return {
    async createRepository({ name, description }, signal) {
      const paths = await findOwnerPaths(http, owner, signal);
      return createOnce({
        http,
        description,
        create: () =>
          http.send({
            method: 'POST',
            path: paths.create,
            body: { name, description, private: true, auto_init: false },
            signal,
          }),
        isTaken: ({ status }) => status === 409,
        find: async () => http.send({ method: 'GET', path: await paths.find(name), signal }),
        read: (answer) => {
          const repository = http.read(answer, Repository);
          return {
            sshUri: repository.ssh_url,
            httpUri: repository.clone_url,
            description: repository.description ?? null,
          };
        },
      });
    },
  };
}
