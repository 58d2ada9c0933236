import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buildApp } from '../../src/api/app.ts';
import type { Api } from '../../src/api/fastify-types.ts';
import type { Health } from '../../src/api/routes/root.ts';
import { loadConfig } from '../../src/config.ts';
import { openDepot } from '../../src/depot/depot.ts';
import { createDepotGuard } from '../../src/jobs/depot-guard.ts';
import { createLog } from '../../src/log.ts';
import { createPrometheusMetrics } from '../../src/metrics/prometheus.ts';
import { createInProcessQueue } from '../../src/queue/in-process-queue.ts';
import { ensureAdmin } from '../../src/services/authentication.ts';
import type { ServiceContext } from '../../src/services/context.ts';
import { openDatabase } from '../../src/store/database.ts';
import { openListener } from '../../src/store/listener.ts';
import { countWork } from '../../src/store/statistics.ts';
import { createTestDatabase } from '../support/postgres.ts';
import {
  captureOutput,
  registerSecret,
  registerSecretSettings,
  registerSecretsOf,
} from '../support/run-output.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';

export const TOKEN = 'the-admin-token-of-the-tests';

export interface Call {
  readonly headers?: Record<string, string>;
  /** Sent as it is if a string, else as JSON. */
  readonly body?: unknown;
}

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: a test says by its expectations what it expects of a body
  readonly body: any;
  readonly text: string;
}

/** The API on a database and a depot of its own; no worker, so a job stays as the test leaves it. */
export interface TestApi {
  readonly app: Api;
  readonly services: ServiceContext;
  readonly dataDirectory: string;
  /** Everything that was logged, at the level trace. */
  readonly logLines: string[];
  health: Health;
  /** Calls with the admin's token, unless other credentials are given. */
  call(method: string, url: string, call?: Call): Promise<Answer>;
  close(): Promise<void>;
}

export interface TestApiOptions {
  readonly settings?: Record<string, string>;
  /** Gives the URL by which the API reaches the database, for tests that cut it off. */
  readonly reroute?: (databaseUrl: string) => Promise<string>;
}

export async function startTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const directory = await makeTemporaryDirectory();
  const database = await createTestDatabase();
  const databaseUrl = (await options.reroute?.(database.databaseUrl)) ?? database.databaseUrl;
  const settings = {
    MUSTER_DATA_DIR: directory.path,
    MUSTER_ADMIN_TOKEN: TOKEN,
    ...options.settings,
  };
  const config = loadConfig(settings);
  registerSecretSettings({ ...settings, DATABASE_URL: databaseUrl });
  registerSecret('the secret key', config.secretKey.toString('hex'));
  const logLines: string[] = [];
  const capture = captureOutput('api');
  const log = createLog('trace', {
    write: (line: string) => {
      logLines.push(line);
      capture(line);
    },
  });
  const depotDirectory = join(directory.path, 'depot');
  await mkdir(depotDirectory, { recursive: true });
  const opened = openDatabase({ databaseUrl, maxConnections: 5 });
  const services: ServiceContext = {
    config,
    database: opened,
    depot: await openDepot({ directory: depotDirectory, guard: createDepotGuard(opened) }),
    queue: createInProcessQueue(),
    listener: openListener(databaseUrl),
    log,
  };
  await ensureAdmin(services);
  const api: { health: Health } = { health: { database: 'up', queue: 'up', storage: 'up' } };
  const checkHealth = (): Promise<Health> => Promise.resolve(api.health);
  const metrics = createPrometheusMetrics({
    version: 'test',
    health: checkHealth,
    work: () => countWork(services.database),
    databasePool: services.database.poolStatistics,
    ssh: () => null,
  });
  const app = await buildApp({ services, checkHealth, metrics });
  return Object.assign(api, {
    app,
    services,
    dataDirectory: directory.path,
    logLines,
    call: (method: string, url: string, call: Call = {}) => inject(app, method, url, call),
    close: async () => {
      await app.close();
      await services.queue.close();
      await services.listener.close();
      await services.database.close();
      await database.drop();
      await directory.remove();
    },
  });
}

async function inject(app: Api, method: string, url: string, call: Call): Promise<Answer> {
  const isCredential = (name: string): boolean => /^(authorization|auth-token)$/i.test(name);
  const { headers = {}, body } = call;
  registerSecretsOf(`${method} ${url}`, body);
  const needsToken = !Object.keys(headers).some(isCredential) && !url.includes('auth_token=');
  const reply = await app.inject({
    // Fastify's types know no made-up methods, and the tests need none.
    method: method as 'GET',
    url,
    headers: { ...(needsToken ? { authorization: `Bearer ${TOKEN}` } : {}), ...headers },
    ...(body === undefined
      ? {}
      : {
          payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
        }),
  });
  const isJson = String(reply.headers['content-type']).includes('json') && reply.body !== '';
  const replied = isJson ? reply.json() : null;
  registerSecretsOf(`${method} ${url}`, replied);
  return {
    status: reply.statusCode,
    headers: reply.headers,
    body: replied,
    text: reply.body,
  };
}
