import { z } from 'zod';
import type { ProviderAccess, ProviderClient } from './client.ts';
import { createOnce } from './create-once.ts';
import { wordsOf } from './error-words.ts';
import { basicAuthorization, openProviderHttp, type ProviderHttp } from './http.ts';

const Project = z.object({
  ssh_url_to_repo: z.string(),
  http_url_to_repo: z.string(),
  description: z.string().nullish(),
});
const Namespace = z.object({ id: z.number(), full_path: z.string() });
const User = z.object({ username: z.string() });

/** GitLab's REST API v4. Source: docs.gitlab.com/api/projects and /api/namespaces. */
export function openGitlab(access: ProviderAccess): ProviderClient {
  const { credentials, owner } = access.auth;
  const http = openProviderHttp({
    access,
    headers:
      credentials.scheme === 'token'
        ? { 'private-token': credentials.token }
        : { authorization: basicAuthorization(credentials.username, credentials.password) },
    wordsOf,
  });
  return {
    async createRepository({ name, description }, signal) {
      const namespace = owner === null ? null : await findNamespace(http, owner, signal);
      return createOnce({
        http,
        description,
        create: () =>
          http.send({
            method: 'POST',
            path: '/projects',
            body: {
              name,
              path: name,
              description,
              visibility: 'private',
              initialize_with_readme: false,
              ...(namespace === null ? {} : { namespace_id: namespace.id }),
            },
            signal,
          }),
        // It says 400 with `has already been taken` where its own documentation says 409.
        isTaken: ({ status, body }) =>
          status === 409 ||
          (status === 400 && wordsOf(body).some((words) => /already been taken/i.test(words))),
        find: async () => {
          const place = namespace?.full_path ?? (await findUsername(http, signal));
          const path = `/projects/${encodeURIComponent(`${place}/${name}`)}`;
          return http.send({ method: 'GET', path, signal });
        },
        read: (answer) => {
          const project = http.read(answer, Project);
          return {
            sshUri: project.ssh_url_to_repo,
            httpUri: project.http_url_to_repo,
            description: project.description ?? null,
          };
        },
      });
    },
  };
}

async function findNamespace(
  http: ProviderHttp,
  group: string,
  signal: AbortSignal,
): Promise<z.infer<typeof Namespace>> {
  const path = `/namespaces/${encodeURIComponent(group)}`;
  return http.read(await http.send({ method: 'GET', path, signal }), Namespace);
}

async function findUsername(http: ProviderHttp, signal: AbortSignal): Promise<string> {
  return http.read(await http.send({ method: 'GET', path: '/user', signal }), User).username;
}
