import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { runToEnd } from '../../scripts/fleet/run-to-end.ts';

/** A git server over HTTP: git's own `http-backend` behind Basic authentication. */
export interface GitHttpServer {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  readonly requests: readonly { readonly method: string; readonly path: string }[];
  /** Called with each request that was let in, before git answers it. */
  onRequest: (path: string) => Promise<void>;
  close(): Promise<void>;
}

/**
 * Serves the bare repositories in a folder to one user.
 * @param login null lets everybody in
 */
export async function startGitHttpServer(
  directory: string,
  login: { readonly username: string; readonly password: string } | null,
): Promise<GitHttpServer> {
  const { stdout } = await runToEnd(['git', '--exec-path']);
  const program = join(stdout.trim(), 'git-http-backend');
  const wanted =
    login === null
      ? null
      : `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;
  const requests: { method: string; path: string }[] = [];
  const state: { onRequest: (path: string) => Promise<void> } = {
    onRequest: () => Promise.resolve(),
  };
  const server = createServer((request, response) => {
    const path = request.url ?? '/';
    requests.push({ method: request.method ?? '', path });
    if (wanted !== null && request.headers.authorization !== wanted) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end('no');
      return;
    }
    state.onRequest(path).then(
      () => runBackend(program, directory, request, response),
      () => response.destroy(),
    );
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

/** Source: RFC 3875, as far as git-http-backend(1) needs it. */
function runBackend(
  program: string,
  directory: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const child = spawn(program, [], {
    env: {
      PATH: process.env['PATH'] ?? '',
      GIT_PROJECT_ROOT: directory,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_NOSYSTEM: '1',
      HOME: directory,
      REMOTE_USER: 'muster',
      REQUEST_METHOD: request.method ?? '',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      ...(request.headers['content-encoding'] === undefined
        ? {}
        : { HTTP_CONTENT_ENCODING: request.headers['content-encoding'] }),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.on('error', () => {});
  request.pipe(child.stdin);
  let head = Buffer.alloc(0);
  let isBody = false;
  child.stdout.on('data', (chunk: Buffer) => {
    if (isBody) return void response.write(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end === -1) return;
    isBody = true;
    let status = 200;
    for (const line of head.subarray(0, end).toString().split('\r\n')) {
      const [name = '', value = ''] = line.split(/: (.*)/s);
      if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.writeHead(status);
    response.write(head.subarray(end + 4));
  });
  child.once('close', () => response.end());
}
