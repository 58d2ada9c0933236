import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { type ApiClient, createApiClient } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { embeddedDatabaseUrl } from '../support/embedded-database.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { createGate, type Gate } from './gate.ts';
import { type GatedFleet, startGatedFleet } from './gated-fleet.ts';
import { startPostgresProxy } from './postgres-proxy.ts';
import { type MusterProcess, startMusterProcess } from './processes.ts';
import type { TcpProxy } from './proxy.ts';
import { startRedisProxy } from './redis-proxy.ts';

export type ChaosMode = 'embedded' | 'distributed';

export const GITDEPLOYS = { Configuration: '/opt/config', Application: '/opt/app' } as const;
/** A worker that is silent for so long loses its job: short, or tests would mostly wait. */
export const LEASE_SECONDS = 2;
// A bound against waiting for ever, not a measure.
const END_MS = 600_000;
/** Characters of what the processes print that are kept. */
const MAX_OUTPUT = 400_000;

/** A process of Muster with the ways that lead through this one. */
interface Member {
  readonly role: 'api' | 'worker' | 'all';
  readonly process: MusterProcess;
  readonly proxies: readonly TcpProxy[];
}

/** A Muster with real servers, built from parts that can all be harmed. */
export interface Lab {
  readonly mode: ChaosMode;
  readonly slices: number;
  readonly gate: Gate;
  readonly fleet: GatedFleet;
  readonly servers: readonly string[];
  readonly redis: TestRedis | null;
  /** For what only the tests ask. */
  readonly sql: (text: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>;
  api: ApiClient;
  /** How many commits each gitrepo must have by now. */
  expectedCommits: number;
  members(): readonly Member[];
  /** The end of what the processes have printed. */
  output(): string;
  /** What they print from now on, to be asked for before it is too much to be kept. */
  listen(): () => string;
  /** `kill -9` of one process, and another one in its place. */
  replace(pid: number): Promise<void>;
  /** `kill -9` of PostgreSQL; it comes back by itself. */
  killPostgres(): Promise<void>;
  /** The process that has the deployment's job. */
  busyPid(): Promise<number | null>;
  /** Uploads a build. */
  makeBuild(name: string): Promise<void>;
  /** Starts a deployment and comes through to it, however often the API dies. @returns its id */
  deploy(build: string): Promise<string>;
  act(id: string, action: string): Promise<void>;
  /** Waits until a deployment is over. @returns what it has become */
  untilOver(id: string): Promise<{ status: string; body: Record<string, unknown> }>;
  /** Sees to it that everything is there again: servers, processes. */
  repair(): Promise<void>;
  close(): Promise<void>;
}

/** Starts all of it and deploys a first build. Whatever was started is ended again if a later part fails. */
export async function startLab(options: {
  readonly mode: ChaosMode;
  readonly servers: number;
  readonly workers: number;
  /** Into how many slices a deployment rolls. With more than one server in a slice, workers share it. */
  readonly slices: number;
}): Promise<Lab> {
  const { mode } = options;
  const ends: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (let end = ends.pop(); end !== undefined; end = ends.pop()) {
      await end().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
    }
  };
  try {
    const processCount = mode === 'embedded' ? 1 : options.workers + 1;
    return await build({ ...options, processCount, ends, close });
  } catch (error) {
    await close();
    throw error;
  }
}

async function build({
  mode,
  servers: serverCount,
  slices,
  processCount,
  ends,
  close,
}: Parameters<typeof startLab>[0] & {
  readonly processCount: number;
  readonly ends: (() => Promise<unknown>)[];
  readonly close: () => Promise<void>;
}): Promise<Lab> {
  const directory = await makeTemporaryDirectory();
  ends.push(() => directory.remove());
  await chmod(directory.path, 0o755);
  const dataDirectory = join(directory.path, 'data');
  const token = randomBytes(16).toString('hex');
  const gate = createGate();
  let output = '';
  let printed = 0;
  const hear = (text: string): void => {
    output = (output + text).slice(-MAX_OUTPUT);
    printed += text.length;
  };
  const backends = mode === 'distributed' ? await startBackends(directory.path, ends) : null;
  const common = {
    MUSTER_DATA_DIR: dataDirectory,
    MUSTER_PORT: '0',
    MUSTER_ADMIN_TOKEN: token,
    MUSTER_JOB_LEASE_SECONDS: String(LEASE_SECONDS),
    MUSTER_OBSERVE_INTERVAL_SECONDS: '0',
    MUSTER_STEP_TIMEOUT_MS: '60000',
    MUSTER_LOG_LEVEL: 'info',
  };
  const members: Member[] = [];
  const startMember = async (role: Member['role']): Promise<void> => {
    const settings: Record<string, string> = { ...common };
    const proxies: TcpProxy[] = [];
    const self: { pid: number | null } = { pid: null };
    const victim = (): Promise<number | null> => Promise.resolve(self.pid);
    if (backends !== null) {
      const postgres = await startPostgresProxy(() => backends.postgresPort, gate, victim);
      const redis = await startRedisProxy(() => backends.redisPort, gate, victim);
      proxies.push(postgres, redis);
      const url = new URL(backends.databaseUrl);
      url.port = String(postgres.port);
      settings['DATABASE_URL'] = url.href;
      settings['REDIS_URL'] = `redis://127.0.0.1:${redis.port}`;
    }
    const entry = {
      api: 'dist/src/server.js',
      worker: 'dist/workers/worker.js',
      all: 'dist/workers/embedded.js',
    } as const;
    try {
      const process = await startMusterProcess(entry[role], settings, hear);
      self.pid = process.pid;
      members.push({ role, process, proxies });
    } catch (error) {
      for (const proxy of proxies) await proxy.close();
      throw error;
    }
  };
  ends.push(async () => {
    for (const { process, proxies } of members) {
      await process.stop();
      for (const proxy of proxies) await proxy.close();
    }
  });
  const roles: Member['role'][] =
    mode === 'embedded' ? ['all'] : ['api', ...Array<'worker'>(processCount - 1).fill('worker')];
  for (const role of roles) await startMember(role);

  const databaseUrl = async (): Promise<string> => {
    if (backends !== null) return backends.databaseUrl;
    return await embeddedDatabaseUrl(dataDirectory, output);
  };
  const askOnce: Lab['sql'] = async (text, values = []) => {
    const client = new pg.Client({ connectionString: await databaseUrl() });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query(text, [...values])).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  };
  // PostgreSQL is away now and then, which is no answer; a wrong statement is, and has a code of its own.
  const sql: Lab['sql'] = async (text, values) => {
    const end = performance.now() + END_MS;
    for (;;) {
      try {
        return await askOnce(text, values);
      } catch (error) {
        const isWrong = error instanceof pg.DatabaseError && error.code?.startsWith('42') === true;
        if (isWrong || performance.now() > end) throw error;
        await sleep(100);
      }
    }
  };
  const api: ApiClient = (...call) => {
    const url = members.find(({ role }) => role !== 'worker')?.process.url ?? '';
    return createApiClient({ url, token })(...call);
  };
  const patiently = patience(api);
  const replace = async (pid: number): Promise<void> => {
    const index = members.findIndex(({ process }) => process.pid === pid);
    const [member] = index < 0 ? [] : members.splice(index, 1);
    if (member === undefined) return;
    await member.process.kill();
    for (const proxy of member.proxies) await proxy.close();
    // As whatever keeps services running does: what cannot start, because PostgreSQL is away, is started again.
    for (let tries = 1; ; tries += 1) {
      try {
        return await startMember(member.role);
      } catch (error) {
        if (tries === 20) throw error;
        await sleep(500);
      }
    }
  };
  const pidOf = (row: Record<string, unknown> | undefined): number | null => {
    const pid = Number(String(row?.['worker'] ?? '').split(':')[1]);
    return members.some(({ process }) => process.pid === pid) ? pid : null;
  };
  const busyPid = async (): Promise<number | null> => {
    if (mode === 'embedded') return members[0]?.process.pid ?? null;
    const [row] = await sql(
      `select worker from jobs where kind = 'run_deployment' and status = 'running' and worker is not null`,
    );
    return pidOf(row);
  };
  const pidAt = async (server: string): Promise<number | null> => {
    const [row] = await sql(
      `select j.worker from steps s join jobs j on j.id = s.job_id
        where s.server_name = $1 and s.status in ('pending', 'running') and j.status = 'running'`,
      [server],
    );
    return pidOf(row) ?? (await busyPid());
  };

  const ok = async (
    method: string,
    path: string,
    body?: unknown,
  ): Promise<Record<string, unknown>> => {
    const reply = await patiently(method, path, body);
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(reply.body)}`);
    return reply.body;
  };
  const keypair = await ok('PUT', '/global/keypairs?name=kp1&generate=true');
  const servers = Array.from(
    { length: serverCount },
    (_, i) => `web${String(i + 1).padStart(2, '0')}`,
  );
  const fleetDirectory = join(directory.path, 'fleet');
  await mkdir(fleetDirectory);
  const fleet = await startGatedFleet({
    names: servers,
    directory: fleetDirectory,
    authorizedKeys: [String(keypair['public_key'])],
    gate,
    victimAt: pidAt,
  });
  ends.push(() => fleet.close());

  const lab: Lab = {
    mode,
    slices,
    gate,
    fleet,
    servers,
    redis: backends?.redis ?? null,
    sql,
    api: patiently,
    expectedCommits: 0,
    members: () => members,
    output: () => output,
    listen: () => {
      const start = printed;
      return () => (printed === start ? '' : output.slice(start - printed));
    },
    replace,
    killPostgres: () => killPostgres(sql),
    busyPid,
    makeBuild: async (name) => {
      await ok('PUT', `/app/shop/builds?build_name=${name}`);
      const archive = await packTarGz({
        'bin/version': `${name}\n`,
        'bin/settings': 'color=red\n\n\nsize=1\n\n\nname=x\n',
        'bin/run': { executable: `#!/bin/sh\necho ${name}\n` },
        'conf/version': `${name}\n`,
      });
      const path = `/app/shop/builds/${name}`;
      const query = 'file_type=tar.gz&package_map=split&wait=60';
      const stored = await patiently('POST', `${path}?${query}`, archive);
      // Asked for again after a reply that was lost, it is under way or done already.
      const codes = ['build_busy', 'build_already_stored'];
      if (stored.status >= 300 && !codes.includes(stored.body.error?.code)) {
        throw new Error(`Build ${name}: ${JSON.stringify(stored.body)}`);
      }
      const end = performance.now() + END_MS;
      while ((await ok('GET', path))['state'] !== 'stored') {
        if (performance.now() > end) throw new Error(`Build ${name} is never stored.`);
        await sleep(50);
      }
    },
    deploy: async (build) => {
      const path = `/app/shop/deployments?build_name=${build}&rolling_divisor=${slices}`;
      const target = { environments: ['production'], groups: ['Shop'] };
      for (;;) {
        try {
          const reply = await api('POST', path, target);
          if (reply.status === 202) return String(reply.body.id);
          if (reply.status !== 503) throw new Error(JSON.stringify(reply.body));
        } catch (error) {
          if (!(error instanceof TypeError)) throw error;
        }
        // The API died over it: whoever asked looks whether it was heard.
        const begun = await sql('select id::text from deployments where build_name = $1', [build]);
        if (begun[0] !== undefined) return String(begun[0]['id']);
        await sleep(100);
      }
    },
    act: async (id, action) => {
      await ok('POST', `/app/shop/deployments/${id}/${action}`);
    },
    untilOver: async (id) => {
      const end = performance.now() + END_MS;
      for (;;) {
        const body = await ok('GET', `/app/shop/deployments/${id}`);
        const status = String(body['status']);
        const [job] = await sql(
          `select 1 from jobs where status in ('queued', 'running') and data->>'deploymentId' = $1`,
          [id],
        ).catch(() => [{}]);
        const isOver = ['succeeded', 'failed', 'cancelled', 'rolled_back'].includes(status);
        if (isOver && job === undefined) return { status, body };
        if (performance.now() > end) {
          throw new Error(
            `Deployment ${id} does not end: ${JSON.stringify(body)}\n${output.slice(-6000)}`,
          );
        }
        await sleep(50);
      }
    },
    repair: async () => {
      for (const { process } of [...members]) if (!process.isAlive) await replace(process.pid);
    },
    close,
  };
  await prepare(lab, ok);
  return lab;
}

/** What a client does while Muster is away: it asks again. */
function patience(api: ApiClient): ApiClient {
  return async (...call) => {
    const end = performance.now() + END_MS;
    for (;;) {
      try {
        const reply = await api(...call);
        if (reply.status !== 503 || performance.now() > end) return reply;
      } catch (error) {
        if (!(error instanceof TypeError) || performance.now() > end) throw error;
      }
      await sleep(100);
    }
  };
}

/** The application, its servers and clones, the first build, and a change made by hand on the first server. */
async function prepare(
  lab: Lab,
  ok: (method: string, path: string, body?: unknown) => Promise<Record<string, unknown>>,
): Promise<void> {
  await ok('PUT', '/app?app_name=shop');
  for (const { name, host, port, hostKey } of lab.fleet.servers) {
    await ok('PUT', `/server?name=${name}&environment=production`, {
      connection: { kind: 'ssh', host, port, user: 'root', keypair: 'kp1', host_key: hostKey },
    });
    await lab.fleet.inspect(name, 'mkdir -p /opt/marks');
  }
  for (const name of ['conf', 'bin']) await ok('PUT', `/app/shop/gitrepos?name=${name}&wait=60`);
  await ok('PUT', '/app/shop/packagemaps?name=split', {
    packages: { conf: { patterns: ['conf/**'] }, bin: { patterns: ['bin/**'] } },
  });
  const location = (path: string, gitrepo: string) => ({ path, gitrepo, default_branch: 'master' });
  const mark = (phase: string) => {
    const name = `echo "begin $$" >>/opt/marks/${phase}; sleep $(cat /opt/marks/seconds 2>/dev/null || echo 0.2); echo "end $$" >>/opt/marks/${phase}`;
    return { mark: { 'cmd.run': [{ name }] } };
  };
  await ok('PUT', '/app/shop/gitdeploys?name=Configuration', {
    package: 'conf',
    location: location(GITDEPLOYS.Configuration, 'conf'),
  });
  await ok('PUT', '/app/shop/gitdeploys?name=Application', {
    package: 'bin',
    location: location(GITDEPLOYS.Application, 'bin'),
    actions: { prepull: mark('prepull'), postpull: mark('postpull') },
  });
  await ok('PUT', '/app/shop/groups?name=Shop&rolling_deploy=true', {
    gitdeploys: [['Configuration'], ['Application']],
  });
  for (const name of Object.keys(GITDEPLOYS)) {
    const servers = { servers: lab.servers };
    await ok('POST', `/app/shop/gitdeploys/${name}?initialize=true&wait=120`, servers);
  }
  await lab.makeBuild('build-0');
  const { status } = await lab.untilOver(await lab.deploy('build-0'));
  if (status !== 'succeeded') throw new Error(`The first deployment has ${status}.`);
  const [first = ''] = lab.servers;
  const planted = await lab.fleet.inspect(
    first,
    'cd /opt/app && sed -i s/red/blue/ bin/settings && echo mine >notes',
  );
  if (planted.exitCode !== 0) throw new Error(planted.stderr);
  const { stdout } = await lab.fleet.inspect(
    first,
    'git -C /opt/app rev-list --count refs/muster/deployed',
  );
  lab.expectedCommits = Number(stdout);
}

interface Backends {
  readonly databaseUrl: string;
  readonly postgresPort: number;
  readonly redisPort: number;
  readonly redis: TestRedis;
}

async function startBackends(
  directory: string,
  ends: (() => Promise<unknown>)[],
): Promise<Backends> {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const folder = join(directory, 'backends');
  await mkdir(folder, { mode: 0o755 });
  const postgres = await startEmbeddedPostgres({
    directory: folder,
    relocateTo: join(directory, 'relocated'),
    settings: { fsync: 'off', max_connections: '200' },
    log: () => undefined,
  });
  ends.push(() => postgres.stop());
  return {
    databaseUrl: postgres.databaseUrl,
    postgresPort: Number(new URL(postgres.databaseUrl).port),
    redisPort: Number(new URL(redis.url).port),
    redis,
  };
}

/** Ends the postmaster, the parent of whoever answers. */
async function killPostgres(sql: Lab['sql']): Promise<void> {
  const [folder] = await sql(`select current_setting('data_directory') as path`);
  const text = await readFile(join(String(folder?.['path']), 'postmaster.pid'), 'utf8');
  const pid = Number(text.split('\n')[0]);
  if (!(pid > 1)) throw new Error('PostgreSQL says no process number.');
  process.kill(pid, 'SIGKILL');
}
