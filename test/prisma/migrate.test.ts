import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { applyMigrations } from '../../prisma/migrate.ts';
import { prismaDirectory } from '../../prisma/migrations.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

let database: TestDatabase;
let folder: TemporaryDirectory;

beforeEach(async () => {
  database = await createTestDatabase({ empty: true });
  folder = await makeTemporaryDirectory();
});

afterEach(async () => {
  await database.drop();
  await folder.remove();
});

async function addMigration(name: string, sql: string): Promise<void> {
  await mkdir(join(folder.path, name), { recursive: true });
  await writeFile(join(folder.path, name, 'migration.sql'), sql);
}

function apply(): Promise<{ readonly applied: readonly string[] }> {
  return applyMigrations({ databaseUrl: database.databaseUrl, migrationsDirectory: folder.path });
}

async function query(sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: database.databaseUrl });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('applyMigrations', () => {
  test('applies the committed migrations to an empty database, and nothing the second time', async () => {
    const names = (await readdir(join(prismaDirectory(), 'migrations'))).filter((name) =>
      /^\d/.test(name),
    );
    const { databaseUrl } = database;
    expect(await applyMigrations({ databaseUrl })).toEqual({ applied: names.sort() });
    expect(await applyMigrations({ databaseUrl })).toEqual({ applied: [] });
  });

  test('applies only what is new', async () => {
    await addMigration('1_one', 'create table one (id int)');
    expect(await apply()).toEqual({ applied: ['1_one'] });
    await addMigration('2_two', 'create table two (id int)');
    expect(await apply()).toEqual({ applied: ['2_two'] });
  });

  test('called by several processes at once applies each migration once', async () => {
    await addMigration('1_slow', 'select pg_sleep(0.3); create table once_only (id int)');
    const results = await Promise.all([apply(), apply(), apply()]);
    expect(results.map((result) => result.applied.length).sort()).toEqual([0, 0, 1]);
  });

  test('leaves nothing of a migration that fails, says why, and applies it once it is mended', async () => {
    await addMigration('1_broken', 'create table half (id int); select * from missing');
    await expect(apply()).rejects.toMatchObject({
      code: 'service_unavailable',
      message: 'The database could not be migrated by 1_broken: No such table: missing',
    });
    expect(await query("select to_regclass('half') as found")).toEqual([{ found: null }]);
    await addMigration('1_broken', 'create table half (id int)');
    expect(await apply()).toEqual({ applied: ['1_broken'] });
  });

  test('tries a migration again that a killed process had begun', async () => {
    await apply();
    await addMigration('1_first', 'create table first (id int)');
    await apply();
    await query(
      `insert into _prisma_migrations (id, checksum, migration_name) values ('x', 'y', '2_killed')`,
    );
    await addMigration('2_killed', 'create table second (id int)');
    expect(await apply()).toEqual({ applied: ['2_killed'] });
  });

  test('leaves a database alone that a newer version has migrated', async () => {
    await addMigration('1_one', 'create table one (id int)');
    await addMigration('2_two', 'create table two (id int)');
    await apply();
    await rm(join(folder.path, '2_two'), { recursive: true });
    await addMigration('1_other', 'create table other (id int)');
    await expect(apply()).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('that of a newer Muster, which has applied 2_two'),
    });
    expect(await query("select to_regclass('other') as found")).toEqual([{ found: null }]);
  });

  test('keeps semicolons in strings, comments and functions', async () => {
    await addMigration(
      '1_semicolons',
      `create function answer() returns text language plpgsql as $$ begin return 'a;b'; end; $$; -- really; so`,
    );
    await apply();
    expect(await query('select answer()')).toEqual([{ answer: 'a;b' }]);
  });

  test('gives up with a clear error when another process keeps the lock', async () => {
    const { databaseUrl } = database;
    await addMigration('1_slow', 'select pg_sleep(600)');
    const slow = expect(apply()).rejects.toThrow();
    await expect
      .poll(() => query("select 1 from pg_locks where locktype = 'advisory' and granted"))
      .not.toEqual([]);
    const migrationsDirectory = folder.path;
    await expect(
      applyMigrations({ databaseUrl, migrationsDirectory, lockTimeoutMs: 50 }),
    ).rejects.toMatchObject({ code: 'service_unavailable', retryable: true });
    // Once it sleeps; what the engine runs before that may be anything.
    const endIt = `select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and query like '%pg_sleep(600)%' and state = 'active'
                      and pid <> pg_backend_pid()`;
    await expect.poll(() => query(endIt)).not.toEqual([]);
    await slow;
  });

  test('reads a folder that a build or a package has moved', async () => {
    await cp(join(prismaDirectory(), 'migrations'), folder.path, { recursive: true });
    expect((await apply()).applied).not.toEqual([]);
  });
});
