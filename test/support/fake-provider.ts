import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';

export interface FakeRequest {
  readonly method: string;
  /** With its percent-encoding. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: a test says by its expectations what it expects of a body
  readonly body: any;
}

export interface FakeReply {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

/** Answers one API as the real service does. */
export type FakeApi = (request: FakeRequest) => FakeReply;

/** An HTTP server that stands for a git provider. */
export interface FakeProvider {
  readonly url: string;
  readonly requests: readonly FakeRequest[];
  /** What answers from now on. */
  api: FakeApi;
  close(): Promise<void>;
}

export async function startFakeProvider(api: FakeApi): Promise<FakeProvider> {
  const requests: FakeRequest[] = [];
  const state = { api };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const seen: FakeRequest = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: text === '' ? null : JSON.parse(text),
      };
      requests.push(seen);
      const reply = state.api(seen);
      response.writeHead(reply.status, {
        'content-type': 'application/json; charset=utf-8',
        ...reply.headers,
      });
      const { body } = reply;
      response.end(typeof body === 'string' ? body : JSON.stringify(body ?? {}));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('No TCP port.');
  return Object.assign(state, {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

/** What a fake knows of its repositories. */
export interface FakeHost {
  /** Where its repositories are served over HTTP and SSH. */
  readonly httpBase: string;
  readonly sshBase: string;
  readonly repositories: Map<string, { description: string }>;
  /** Called when a repository is created, with `owner/name`. */
  readonly onCreate?: (fullName: string) => void;
}

/** GitHub's REST API v3. Bodies as docs.github.com/rest/repos/repos and its error replies show them. */
export function fakeGithub(token: string, host: FakeHost): FakeApi {
  const documentation = 'https://docs.github.com/rest';
  const show = (fullName: string) => ({
    id: 1,
    full_name: fullName,
    description: host.repositories.get(fullName)?.description ?? null,
    private: true,
    ssh_url: `${host.sshBase}${fullName}.git`,
    clone_url: `${host.httpBase}/${fullName}.git`,
  });
  return ({ method, path, headers, body }) => {
    if (headers.authorization !== `Bearer ${token}`) {
      return {
        status: 401,
        body: { message: 'Bad credentials', documentation_url: documentation, status: '401' },
      };
    }
    if (headers['user-agent'] === undefined) return { status: 403, body: 'Request forbidden' };
    if (method === 'GET' && path === '/user') return { status: 200, body: { login: 'Octocat' } };
    const org = /^\/orgs\/([^/]+)\/repos$/.exec(path)?.[1];
    if (method === 'POST' && (path === '/user/repos' || org !== undefined)) {
      if (org === 'nobody') {
        return {
          status: 404,
          body: { message: 'Not Found', documentation_url: documentation, status: '404' },
        };
      }
      const fullName = `${org ?? 'Octocat'}/${body.name}`;
      if (host.repositories.has(fullName)) {
        return {
          status: 422,
          body: {
            message: 'Repository creation failed.',
            errors: [
              {
                resource: 'Repository',
                code: 'custom',
                field: 'name',
                message: 'name already exists on this account',
              },
            ],
            documentation_url: documentation,
            status: '422',
          },
        };
      }
      host.repositories.set(fullName, { description: body.description });
      host.onCreate?.(fullName);
      return { status: 201, body: show(fullName) };
    }
    const fullName = /^\/repos\/([^/]+\/[^/]+)$/.exec(path)?.[1];
    if (method === 'GET' && fullName !== undefined && host.repositories.has(fullName)) {
      return { status: 200, body: show(fullName) };
    }
    return { status: 404, body: { message: 'Not Found', documentation_url: documentation } };
  };
}

/** GitLab's REST API v4. Bodies as docs.gitlab.com/api shows them; a taken name is a 400, see its issue 356008. */
export function fakeGitlab(token: string, host: FakeHost): FakeApi {
  const show = (fullName: string) => ({
    id: 1,
    path_with_namespace: fullName,
    description: host.repositories.get(fullName)?.description ?? null,
    visibility: 'private',
    ssh_url_to_repo: `${host.sshBase}${fullName}.git`,
    http_url_to_repo: `${host.httpBase}/${fullName}.git`,
  });
  return ({ method, path, headers, body }) => {
    if (headers['private-token'] !== token) {
      return { status: 401, body: { message: '401 Unauthorized' } };
    }
    if (path === '/api/v4/user') return { status: 200, body: { id: 7, username: 'tanuki' } };
    if (path === '/api/v4/namespaces/team%2Fweb') {
      return { status: 200, body: { id: 42, path: 'web', kind: 'group', full_path: 'team/web' } };
    }
    if (path.startsWith('/api/v4/namespaces/')) {
      return { status: 404, body: { message: '404 Namespace Not Found' } };
    }
    if (method === 'POST' && path === '/api/v4/projects') {
      const fullName = `${body.namespace_id === 42 ? 'team/web' : 'tanuki'}/${body.path}`;
      if (host.repositories.has(fullName)) {
        return {
          status: 400,
          body: {
            message: {
              project_namespace: ['is invalid'],
              name: ['has already been taken'],
              path: ['has already been taken'],
            },
          },
        };
      }
      host.repositories.set(fullName, { description: body.description });
      host.onCreate?.(fullName);
      return { status: 201, body: show(fullName) };
    }
    const id = /^\/api\/v4\/projects\/(.+)$/.exec(path)?.[1];
    const fullName = decodeURIComponent(id ?? '');
    return host.repositories.has(fullName)
      ? { status: 200, body: show(fullName) }
      : { status: 404, body: { message: '404 Project Not Found' } };
  };
}

/** Gitea's API v1. Bodies as its swagger and `routers/api/v1/repo/repo.go` show them. */
export function fakeGitea(authorization: string, host: FakeHost): FakeApi {
  const show = (fullName: string) => ({
    id: 1,
    full_name: fullName,
    description: host.repositories.get(fullName)?.description ?? '',
    private: true,
    ssh_url: `${host.sshBase}${fullName}.git`,
    clone_url: `${host.httpBase}/${fullName}.git`,
  });
  return ({ method, path, headers, body }) => {
    if (headers.authorization !== authorization) {
      return {
        status: 401,
        body: { message: 'user does not exist [uid: 0, name: ]', url: 'http://x/api/swagger' },
      };
    }
    if (path === '/api/v1/user') return { status: 200, body: { id: 1, login: 'cup' } };
    const org = /^\/api\/v1\/orgs\/([^/]+)\/repos$/.exec(path)?.[1];
    if (method === 'POST' && (path === '/api/v1/user/repos' || org !== undefined)) {
      const fullName = `${org ?? 'cup'}/${body.name}`;
      if (host.repositories.has(fullName)) {
        return {
          status: 409,
          body: {
            message: 'The repository with the same name already exists.',
            url: 'http://x/api/swagger',
          },
        };
      }
      host.repositories.set(fullName, { description: body.description });
      host.onCreate?.(fullName);
      return { status: 201, body: show(fullName) };
    }
    const fullName = /^\/api\/v1\/repos\/([^/]+\/[^/]+)$/.exec(path)?.[1] ?? '';
    return host.repositories.has(fullName)
      ? { status: 200, body: show(fullName) }
      : { status: 404, body: { message: 'Not Found', errors: null, url: 'http://x/api/swagger' } };
  };
}

/** Bitbucket Cloud's REST API 2.0. Bodies as developer.atlassian.com/cloud/bitbucket/rest shows them. */
export function fakeBitbucket(authorization: string, host: FakeHost): FakeApi {
  const show = (fullName: string) => ({
    type: 'repository',
    full_name: fullName,
    description: host.repositories.get(fullName)?.description ?? '',
    is_private: true,
    links: {
      clone: [
        { name: 'https', href: `${host.httpBase.replace('://', '://bucket@')}/${fullName}.git` },
        { name: 'ssh', href: `${host.sshBase}${fullName}.git` },
      ],
    },
  });
  return ({ method, path, headers, body }) => {
    if (headers.authorization !== authorization) {
      return {
        status: 401,
        body: { type: 'error', error: { message: 'Token is invalid or not supported.' } },
      };
    }
    if (path === '/2.0/user') return { status: 200, body: { username: 'bucket', type: 'user' } };
    const fullName = /^\/2\.0\/repositories\/([^/]+\/[^/]+)$/.exec(path)?.[1] ?? '';
    if (method === 'POST') {
      if (fullName !== fullName.toLowerCase()) {
        return {
          status: 400,
          body: {
            type: 'error',
            error: {
              message: 'Bad request',
              fields: { slug: ['Repository slugs must be lowercase.'] },
            },
          },
        };
      }
      if (host.repositories.has(fullName)) {
        return {
          status: 400,
          body: {
            type: 'error',
            error: { message: 'Repository with this Slug and Owner already exists.' },
          },
        };
      }
      host.repositories.set(fullName, { description: body.description });
      host.onCreate?.(fullName);
      return { status: 200, body: show(fullName) };
    }
    return host.repositories.has(fullName)
      ? { status: 200, body: show(fullName) }
      : {
          status: 404,
          body: { type: 'error', error: { message: `Repository ${fullName} not found` } },
        };
  };
}
