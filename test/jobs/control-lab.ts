import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createHandlers } from '../../src/jobs/handlers.ts';
import { startWorker, type Worker } from '../../src/jobs/worker.ts';
import { insertJoiningJob, JOIN_TOPIC } from '../../src/store/joined-jobs.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { type Answer, startTestApi, type TestApi } from '../api/test-api.ts';
import { packTarGz } from '../support/archive.ts';

/** An API with a worker and folders for servers, on which an application is initialized. */
export interface ControlLab {
  readonly api: TestApi;
  /** Holds every prepull back until `open`. */
  hold(): Promise<void>;
  open(): Promise<void>;
  /** The file that says which build a server has; null if there is none. */
  versionOn(server: string, gitdeploy?: string): Promise<string | null>;
  /** What prepull and postpull have noted on a server. */
  notesOn(server: string): Promise<string[]>;
  /** Makes postpull fail on a server, or no longer. */
  fail(server: string, isFailing: boolean): Promise<void>;
  /** Starts a deployment of a build to all servers. @returns its id */
  deploy(build: string, options?: string, target?: object): Promise<string>;
  act(id: string, action: string, query?: string): Promise<Answer>;
  show(id: string): Promise<Answer['body']>;
  /** Waits until the deployment has a status. */
  until(id: string, status: string): Promise<Answer['body']>;
  census(): Promise<Record<string, { committed: string | null; deployed: string | null }>>;
  /** Starts a worker; beside those that there are, as another process would be. */
  startWorker(): void;
  /** Stops all of them. */
  stopWorker(): Promise<void>;
  close(): Promise<void>;
}

export const SERVERS = ['s0', 's1', 's2', 's3'] as const;
const BUILDS = ['b1', 'b2', 'b3'] as const;

/** Two rolling slices of two servers; a gate in prepull, notes and a switch for failures in postpull. */
export async function startControlLab(): Promise<ControlLab> {
  const api = await startTestApi();
  const { services, dataDirectory } = api;
  const gate = join(dataDirectory, 'gate');
  const rootOf = (server: string): string => join(dataDirectory, 'servers', server);
  const { config, database, depot, queue, listener, log } = services;
  const transport = createTransport({
    ssh: { loginTimeoutMs: 5000 },
    searchPath: config.searchPath,
  });
  const workers: Worker[] = [];
  const startOne = (): void => {
    const handlers = createHandlers({ config, database, depot, transport });
    const join = { topic: JOIN_TOPIC, find: (name: string) => insertJoiningJob(database, name) };
    workers.push(startWorker({ database, queue, listener, handlers, log, concurrency: 4, join }));
  };
  const stopAll = async (): Promise<void> => {
    await Promise.all(workers.splice(0).map((worker) => worker.close()));
  };
  startOne();
  const ok = async (method: string, url: string, body?: unknown): Promise<Answer['body']> => {
    const answer = await api.call(method, url, { ...(body === undefined ? {} : { body }) });
    if (answer.status >= 300) throw new Error(`${method} ${url}: ${answer.text}`);
    return answer.body;
  };

  await ok('PUT', '/app?app_name=shop');
  for (const server of SERVERS) {
    await mkdir(join(rootOf(server), 'srv'), { recursive: true });
    const connection = { kind: 'local', root: rootOf(server) };
    await ok('PUT', `/server?name=${server}&environment=production`, { connection });
  }
  await ok('PUT', '/app/shop/gitrepos?name=web&wait=20');
  await ok('PUT', '/app/shop/gitdeploys?name=Web', {
    package: 'master',
    location: { path: '/srv/web', gitrepo: 'web', default_branch: 'master' },
    actions: {
      prepull: {
        gate: {
          'cmd.run': [
            {
              name: `echo "prepull $(cat version 2>/dev/null)" >> ../notes; while [ -e ${gate} ]; do sleep 0.05; done`,
            },
          ],
        },
      },
      postpull: {
        note: {
          'cmd.run': [
            { name: 'echo "postpull $(cat version 2>/dev/null)" >> ../notes; test ! -e ../broken' },
          ],
        },
      },
    },
  });
  await ok('POST', '/app/shop/gitdeploys/Web?initialize=true&wait=30', { servers: [...SERVERS] });
  await ok('PUT', '/app/shop/groups?name=all&rolling_deploy=true', { gitdeploys: ['Web'] });
  for (const build of BUILDS) {
    await ok('PUT', `/app/shop/builds?build_name=${build}`);
    const archive = await packTarGz({ version: `${build}\n`, [`only-${build}`]: build });
    const stored = await api.call('POST', `/app/shop/builds/${build}?file_type=tar.gz&wait=30`, {
      body: archive,
      headers: { 'content-type': 'application/gzip' },
    });
    if (stored.status !== 200) throw new Error(stored.text);
  }

  const show = (id: string): Promise<Answer['body']> => ok('GET', `/app/shop/deployments/${id}`);
  const read = async (path: string): Promise<string | null> => {
    try {
      return (await readFile(path, 'utf8')).trim();
    } catch {
      return null;
    }
  };
  return {
    api,
    hold: () => writeFile(gate, ''),
    open: () => rm(gate, { force: true }),
    versionOn: (server) => read(join(rootOf(server), 'srv/web/version')),
    notesOn: async (server) => (await read(join(rootOf(server), 'srv/notes')))?.split('\n') ?? [],
    fail: async (server, isFailing) => {
      const file = join(rootOf(server), 'srv/broken');
      if (isFailing) await writeFile(file, '');
      else await rm(file, { force: true });
    },
    deploy: async (build, options = '', target) => {
      const body = target ?? { environments: ['production'], groups: ['all'] };
      const url = `/app/shop/deployments?build_name=${build}${options}`;
      return (await ok('POST', url, body)).id;
    },
    act: (id, action, query = '') =>
      api.call('POST', `/app/shop/deployments/${id}/${action}${query}`),
    show,
    until: async (id, status) => {
      await expect.poll(async () => (await show(id)).status).toBe(status);
      return show(id);
    },
    census: async () => {
      const { census } = await ok('GET', '/app/shop');
      const servers: Record<
        string,
        { Web: { committed: string | null; deployed: string | null } }
      > = census.production.all;
      return Object.fromEntries(Object.entries(servers).map(([name, leaf]) => [name, leaf.Web]));
    },
    startWorker: startOne,
    stopWorker: stopAll,
    close: async () => {
      await rm(gate, { force: true });
      await stopAll();
      await transport.close();
      await api.close();
    },
  };
}
