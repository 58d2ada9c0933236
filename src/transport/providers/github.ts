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

/** GitHub's REST API v3, also of GitHub Enterprise Server. Source: docs.github.com/rest/repos/repos. */
export function openGithub(access: ProviderAccess): ProviderClient {
  const { credentials, owner } = access.auth;
  const http = openProviderHttp({
    access,
    headers: {
      accept: 'application/vnd.github+json',
      'x-github-api-version': '2022-11-28',
      authorization:
        credentials.scheme === 'token'
          ? `Bearer ${credentials.token}`
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
            body: { name, description, private: true },
            signal,
          }),
        isTaken: ({ status, body }) =>
          status === 422 && wordsOf(body).some((words) => /already exists/i.test(words)),
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
