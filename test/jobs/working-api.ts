import type { JobDependencies } from '../../src/jobs/dependencies.ts';
import { createHandlers } from '../../src/jobs/handlers.ts';
import { startWorker } from '../../src/jobs/worker.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { type Answer, startTestApi, type TestApi, type TestApiOptions } from '../api/test-api.ts';
import { packTarGz } from '../support/archive.ts';

/** The API with a worker beside it, in this process: jobs are done as in the real program. */
export interface WorkingApi extends TestApi {
  readonly dependencies: JobDependencies;
  /** Calls, and fails with the answer unless it is a success. */
  must(method: string, url: string, body?: unknown): Promise<Answer['body']>;
  /** An application with one gitrepo and the gitdeploy `Web` at /opt/web, initialized on these servers. */
  makeApplication(name: string, servers: readonly string[], gitdeploy?: object): Promise<void>;
  /** Stores a build, if it is not there yet, and deploys it to these servers; `version` is what is in its files. */
  deploy(
    application: string,
    build: { readonly name: string; readonly version?: string },
    servers: readonly string[],
  ): Promise<Answer>;
  /** Waits for a check. */
  check(server: string): Promise<Answer>;
}

/** The caller closes it. */
export async function startWorkingApi(options: TestApiOptions = {}): Promise<WorkingApi> {
  const api = await startTestApi(options);
  const { config, database, depot, queue, listener, log } = api.services;
  const transport = createTransport({ ssh: { retryPauseMs: 20 } });
  const dependencies = { config, database, depot, transport };
  const worker = startWorker({
    database,
    queue,
    listener,
    handlers: createHandlers(dependencies),
    log,
    concurrency: 10,
    retentionDays: 90,
    onJobEnded: () => undefined,
  });
  const must: WorkingApi['must'] = async (method, url, body) => {
    const reply = await api.call(method, url, body === undefined ? {} : { body });
    if (reply.status >= 300) throw new Error(`${method} ${url}: ${reply.status} ${reply.text}`);
    return reply.body;
  };
  return {
    ...api,
    dependencies,
    must,
    makeApplication: async (name, servers, gitdeploy = {}) => {
      await must('PUT', `/app?app_name=${name}`);
      await must('PUT', `/app/${name}/gitrepos?name=repo&wait=30`);
      await must('PUT', `/app/${name}/gitdeploys?name=Web`, {
        package: 'master',
        location: { path: '/opt/web', gitrepo: 'repo', default_branch: 'master' },
        ...gitdeploy,
      });
      await must('POST', `/app/${name}/gitdeploys/Web?initialize=true&wait=30`, { servers });
    },
    deploy: async (application, { name: build, version = build }, servers) => {
      const builds = `/app/${application}/builds`;
      const made = await api.call('PUT', `${builds}?build_name=${build}`);
      if (made.status === 201) {
        const archive = await packTarGz({ version: `${version}\n`, same: 'same\n' });
        const url = `${builds}/${build}?file_type=tar.gz&wait=30`;
        const stored = await api.call('POST', url, {
          headers: { 'content-type': 'application/octet-stream' },
          body: archive,
        });
        if (stored.status !== 200) throw new Error(stored.text);
      }
      return api.call('POST', `/app/${application}/deployments?build_name=${build}&wait=60`, {
        body: { servers, gitdeploys: ['Web'] },
      });
    },
    check: (server) => api.call('POST', `/server/${server}?check=true&wait=60`),
    close: async () => {
      await worker.close();
      await transport.close();
      await api.close();
    },
  };
}
