import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyMigrations } from '../../prisma/migrate.ts';
import { prismaDirectory } from '../../prisma/migrations.ts';
import { type ApiClient, createApiClient } from '../support/api-client.ts';
import { packTarGz } from '../support/archive.ts';
import { requirePart } from '../support/parts.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { type Program, runProgram, startProgram } from '../support/program.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const run = promisify(execFile);
const ALL_IN_ONE = 'dist/workers/embedded.js';
const API = 'dist/src/server.js';
const ROTATE = 'dist/workers/rotate-secret-key.js';

/** The procedures of docs/operations.md, as they stand there, on a Muster with its own PostgreSQL. */
describe('an operator of a Muster with its own PostgreSQL', () => {
  let directory: TemporaryDirectory;
  let muster: Program;
  let api: ApiClient;
  let data: string;
  const path = (name: string) => join(directory.path, name);
  const keyIn = async (folder: string) =>
    (await readFile(join(folder, 'secret-key'), 'utf8')).trim();

  const start = async (folder: string): Promise<void> => {
    data = folder;
    muster = startProgram(ALL_IN_ONE, { MUSTER_DATA_DIR: folder, MUSTER_PORT: '0' });
    const [, url = ''] = await muster.says(/listening on (http:\S+)/);
    const token = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
    api = createApiClient({ url, token });
  };
  const stop = async (): Promise<void> => {
    muster.child.kill('SIGTERM');
    expect((await muster.ended).exitCode).toBe(0);
  };
  const deploy = async (build: string): Promise<void> => {
    const base = '/app/widgets';
    expect((await api('PUT', `${base}/builds?build_name=${build}`)).status).toBe(201);
    const archive = await packTarGz({ 'bin/version': `${build}\n` });
    const stored = await api('POST', `${base}/builds/${build}?file_type=tar.gz&wait=60`, archive);
    expect(stored.body).toMatchObject({ state: 'stored' });
    const done = await api('POST', `${base}/deployments?build_name=${build}&wait=60`, {
      servers: ['web01'],
      gitdeploys: ['All'],
    });
    expect(done.body).toMatchObject({ status: 'succeeded' });
    expect(await readFile(path('web01/opt/widgets/bin/version'), 'utf8')).toBe(`${build}\n`);
  };

  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    // As /var/lib is: PostgreSQL's account passes through to the data directory, so nothing lies elsewhere.
    await chmod(directory.path, 0o755);
    await mkdir(path('web01/opt'), { recursive: true });
    await start(path('data'));
    await api('PUT', '/app?app_name=widgets');
    await api('PUT', '/global/keypairs?name=kp1&generate=true');
    await api('PUT', '/server?name=web01&environment=production', {
      connection: { kind: 'local', root: path('web01') },
    });
    expect((await api('PUT', '/app/widgets/gitrepos?name=all&wait=30')).status).toBe(200);
    await api('PUT', '/app/widgets/gitdeploys?name=All', {
      package: 'master',
      location: { path: '/opt/widgets', gitrepo: 'all', default_branch: 'master' },
    });
    const initialized = await api('POST', '/app/widgets/gitdeploys/All?initialize=true&wait=60', {
      servers: ['web01'],
    });
    expect(initialized.status).toBe(200);
    await deploy('1.0.0');
  });
  afterAll(async () => {
    muster.child.kill('SIGTERM');
    await muster.ended;
    await directory.remove();
  });

  it('makes a backup by copying the folder of a stopped Muster, and restores it elsewhere', async () => {
    await stop();
    await run('tar', ['-czpf', path('backup.tgz'), '-C', path('data'), '.']);
    await start(data);
    for (const build of ['lost-1', 'lost-2', 'lost-3']) await deploy(build);
    await stop();
    await rm(path('data'), { recursive: true });

    await mkdir(path('restored'), { mode: 0o711 });
    await run('tar', ['-xzpf', path('backup.tgz'), '-C', path('restored')]);
    await start(path('restored'));
    expect((await api('GET', '/app/widgets/builds')).body.builds).toEqual(['1.0.0']);
    const census = await api('GET', '/app/widgets/census');
    expect(census.body).toMatchObject({
      production: { '-': { web01: { All: { deployed: '1.0.0' } } } },
    });
  });

  it('deploys again after the restore, also to a server that has gone on since the backup', async () => {
    // What Muster no longer knows of is for it a change made by hand on the server, and those win by default.
    const favor = (side: string) =>
      api('PATCH', '/app/widgets/gitdeploys/All', { options: { favor: side } });
    expect((await favor('theirs')).status).toBe(200);
    await deploy('2.0.0');
    expect((await favor('ours')).status).toBe(200);
    await deploy('2.0.1');
  });

  it('is told at the start if the secret key is not the one of the stored secrets', async () => {
    await stop();
    const ended = await runProgram(ALL_IN_ONE, {
      MUSTER_DATA_DIR: data,
      MUSTER_PORT: '0',
      MUSTER_SECRET_KEY: randomBytes(32).toString('hex'),
    });
    expect(ended.exitCode).toBe(1);
    expect(ended.stderr).toMatch(/muster cannot start: The secret key is not the one that keypair/);
  });

  it('rotates the secret key while Muster is down, and not while it runs', async () => {
    const old = await keyIn(data);
    await start(data);
    const refused = await runProgram(ROTATE, { MUSTER_DATA_DIR: data });
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(/not rotated: Muster is already running on /);
    expect(await keyIn(data)).toBe(old);
    await stop();

    const rotated = await runProgram(ROTATE, { MUSTER_DATA_DIR: data });
    expect(rotated).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^1 secret was sealed anew/),
    });
    const next = await keyIn(data);
    expect(next).toMatch(/^[0-9a-f]{64}$/);
    expect(next).not.toBe(old);
    expect(rotated.stdout + rotated.stderr).not.toContain(next);
    await start(data);
    await deploy('3.0.0');
    await stop();

    // A crash between the two: everything is sealed with the new key, and the file has still the old one.
    await writeFile(join(data, 'secret-key.new'), `${next}\n`, { mode: 0o600 });
    await writeFile(join(data, 'secret-key'), `${old}\n`);
    const stuck = await runProgram(ALL_IN_ONE, { MUSTER_DATA_DIR: data, MUSTER_PORT: '0' });
    expect(stuck.stderr).toMatch(/run npm run rotate-secret-key again/);
    const again = await runProgram(ROTATE, { MUSTER_DATA_DIR: data });
    expect(again).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^0 secrets/) });
    expect(await keyIn(data)).toBe(next);
    await start(data);
  });

  it('rotates the administrator\u2019s token', async () => {
    const old = api;
    const { body } = await api('GET', '/global/tokens');
    const [token] = body.tokens.filter((one: { name: string }) => one.name === 'admin-token');
    await rm(join(data, 'admin-token'));
    expect((await api('DELETE', `/global/tokens/${token.id}`)).status).toBe(200);
    expect((await old('GET', '/app')).status).toBe(401);
    await stop();
    await start(data);
    expect((await api('GET', '/app')).status).toBe(200);
    expect((await old('GET', '/app').catch(() => ({ status: 0 }))).status).not.toBe(200);
  });
});

/** The procedures that concern a PostgreSQL of one's own. */
describe.skipIf(!requirePart('redis-server'))('an operator of a distributed Muster', () => {
  const [firstToken, secondToken] = [
    randomBytes(32).toString('hex'),
    randomBytes(32).toString('hex'),
  ];
  let directory: TemporaryDirectory;
  let database: TestDatabase;
  let redis: TestRedis;
  let settings: Record<string, string>;

  const query = async (sql: string): Promise<void> => {
    const client = new pg.Client({ connectionString: database.databaseUrl });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  const whileRunning = async (work: (url: string) => Promise<void>): Promise<void> => {
    const program = startProgram(API, settings);
    const [, url = ''] = await program.says(/listening on (http:\S+)/);
    try {
      await work(url);
    } finally {
      program.child.kill('SIGTERM');
      expect((await program.ended).exitCode).toBe(0);
    }
  };

  beforeAll(async () => {
    [directory, database, redis] = await Promise.all([
      makeTemporaryDirectory(),
      createTestDatabase({ empty: true }),
      startRedis(),
    ]);
    settings = {
      DATABASE_URL: database.databaseUrl,
      REDIS_URL: redis.url,
      MUSTER_DATA_DIR: join(directory.path, 'data'),
      MUSTER_PORT: '0',
      MUSTER_ADMIN_TOKEN: firstToken,
    };
  });
  afterAll(async () => {
    await redis.stop();
    await database.drop();
    await directory.remove();
  });

  it('upgrades a database of the first version by a start, and finds everything in it', async () => {
    const migrations = join(prismaDirectory(), 'migrations');
    const all = (await readdir(migrations)).filter((name) => /^\d/.test(name)).sort();
    const [first = ''] = all;
    const oldVersion = join(directory.path, 'old-version');
    await cp(join(migrations, first), join(oldVersion, first), { recursive: true });
    const { databaseUrl } = database;
    expect(await applyMigrations({ databaseUrl, migrationsDirectory: oldVersion })).toEqual({
      applied: [first],
    });
    await query(`
      insert into applications (id, name) values (gen_random_uuid(), 'widgets');
      insert into builds (id, application_id, name)
        select gen_random_uuid(), id, '1.0.0' from applications;
      insert into servers (id, name, environment, connection)
        values (gen_random_uuid(), 'web01', 'production', '{"kind":"local","root":"/nowhere"}');
      insert into jobs (id, kind, data, username, status, finished_at)
        values (gen_random_uuid(), 'check_server', '{}', 'admin', 'succeeded', now())`);

    await whileRunning(async (url) => {
      const api = createApiClient({ url, token: firstToken });
      expect((await api('GET', '/app')).body.applications).toEqual(['widgets']);
      expect((await api('GET', '/app/widgets/builds')).body.builds).toEqual(['1.0.0']);
      expect((await api('GET', '/server/web01')).body).toMatchObject({
        environment: 'production',
        connection: { kind: 'local', root: '/nowhere' },
      });
      expect((await api('GET', '/job')).body.jobs).toHaveLength(1);
      expect((await api('PUT', '/app/widgets/builds?build_name=2.0.0')).status).toBe(201);
    });
    expect(await applyMigrations({ databaseUrl })).toEqual({ applied: [] });
  });

  it('changes the administrator\u2019s token by its setting, and the old one ends with the restart', async () => {
    settings = { ...settings, MUSTER_ADMIN_TOKEN: secondToken };
    await whileRunning(async (url) => {
      const status = async (token: string) =>
        (await createApiClient({ url, token })('GET', '/app')).status;
      expect(await status(secondToken)).toBe(200);
      expect(await status(firstToken)).toBe(401);
    });
  });

  it('is told that a database was upgraded by a newer version, which changes nothing in it', async () => {
    await query(`
      insert into _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count)
        values ('newer', 'x', '29991231235959_newer', now(), 1)`);
    const ended = await runProgram(API, settings);
    expect(ended.exitCode).toBe(1);
    expect(ended.stderr).toContain(
      'muster cannot start: The database is that of a newer Muster, which has applied 29991231235959_newer.',
    );
    await query(`delete from _prisma_migrations where id = 'newer'`);
  });
});
