import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { AppError } from '../src/domain/errors.ts';
import { draftMigration } from './draft.ts';
import { prismaDirectory, readMigrations } from './migrations.ts';
import { NO_FILTERS, openSchemaEngine } from './schema-engine.ts';

export interface ApplyMigrationsOptions {
  readonly databaseUrl: string;
  /** Default: `prisma/migrations` of this installation. */
  readonly migrationsDirectory?: string;
  /** How long to wait for another process that applies migrations to the same database. Default 5 minutes. */
  readonly lockTimeoutMs?: number;
}

/** Not the number that Prisma's engine locks on its own connection, which would be waiting for ourselves. */
const MIGRATION_LOCK = 0x6d757374;
const LOCK_TIMEOUT_MS = 300_000;
const CONNECT_TIMEOUT_MS = 10_000;
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Bring the database to the state that the migrations folder describes; what `prisma migrate deploy` does, with the
 * same table `_prisma_migrations`. May be called by any number of processes at once. A migration that was broken off,
 * by an error or by `kill -9`, has left nothing behind and is tried again.
 * @returns the names of the migrations that this call applied, in order
 * @throws {AppError} `service_unavailable` if a migration fails or another process keeps the lock for too long,
 *   `conflict` if the database is that of a newer version
 */
export async function applyMigrations(
  options: ApplyMigrationsOptions,
): Promise<{ readonly applied: readonly string[] }> {
  const { databaseUrl, lockTimeoutMs = LOCK_TIMEOUT_MS } = options;
  const directory = options.migrationsDirectory ?? join(prismaDirectory(), 'migrations');
  const migrationsList = await readMigrations(directory);
  return await withMigrationLock(databaseUrl, lockTimeoutMs, async (client) => {
    const rows = await readAppliedMigrations(client);
    refuseNewer(
      rows,
      migrationsList.migrationDirectories.map(({ path }) => path),
    );
    // Under the lock nobody else is at work, so a migration that began and did not end was broken off.
    const interrupted = rows.filter((row) => !row.isFinished).map(({ name }) => name);
    const { engine, close } = await openSchemaEngine(databaseUrl);
    try {
      for (const migrationName of interrupted) {
        await engine.markMigrationRolledBack({ migrationName });
      }
      const done = await engine.applyMigrations({ migrationsList, filters: NO_FILTERS });
      return { applied: done.appliedMigrationNames };
    } catch (cause) {
      throw new AppError('service_unavailable', explainEngineError(cause), { cause });
    } finally {
      await close();
    }
  });
}

/** The lock is the session's: it falls with the connection, so a process that dies does not keep it. */
async function withMigrationLock<T>(
  databaseUrl: string,
  lockTimeoutMs: number,
  run: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  // A connection that breaks makes the statement under way fail, which is enough to know.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query("select set_config('lock_timeout', $1, false)", [`${lockTimeoutMs}ms`]);
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    return await run(client);
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === LOCK_NOT_AVAILABLE) {
      throw new AppError(
        'service_unavailable',
        `Another process has been migrating the database for ${lockTimeoutMs / 1000} s; please wait for it and try again.`,
        { cause: error, retryable: true },
      );
    }
    throw error;
  } finally {
    await client.end();
  }
}

interface MigrationRow {
  readonly name: string;
  readonly isFinished: boolean;
}

/** What has been begun in this database and was not rolled back. */
async function readAppliedMigrations(client: pg.Client): Promise<readonly MigrationRow[]> {
  const table = await client.query<{ found: boolean }>(
    "select to_regclass('_prisma_migrations') is not null as found",
  );
  if (table.rows[0]?.found !== true) {
    return [];
  }
  const { rows } = await client.query<MigrationRow>(
    `select migration_name as name, finished_at is not null as "isFinished"
       from _prisma_migrations where rolled_back_at is null order by migration_name`,
  );
  return rows;
}

/** An older version would not know what the newer tables mean, and might serve or change the data all the same. */
function refuseNewer(rows: readonly MigrationRow[], known: readonly string[]): void {
  const names = new Set(known);
  const unknown = rows.filter((row) => row.isFinished && !names.has(row.name)).at(-1);
  if (unknown === undefined) return;
  throw new AppError(
    'conflict',
    `The database is that of a newer Muster, which has applied ${unknown.name}. Start that version, or restore a backup of before the upgrade.`,
    { details: { migration: unknown.name } },
  );
}

/** The engine adds where in its own source it was, numbered line by line; of that only the migration's name is of use. */
function explainEngineError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const [said = ''] = message.split(/\n\s+0: /);
  const name = /migration_name="([^"]+)"/.exec(message)?.[1];
  const reason = said.replace('external connector error', '').replaceAll('\n', ' ').trim();
  return `The database could not be migrated${name === undefined ? '' : ` by ${name}`}: ${reason}`;
}

const USAGE = `Usage: migrate deploy        apply the migrations to the database of DATABASE_URL
       migrate draft <name>  write a migration from the last drafted schema to schema.prisma
`;

async function runCommand(argv: readonly string[]): Promise<void> {
  const { positionals } = parseArgs({ args: [...argv], allowPositionals: true });
  const [command, name] = positionals;
  if (command === 'deploy' && name === undefined) {
    const databaseUrl = process.env['DATABASE_URL'];
    if (databaseUrl === undefined) {
      throw new Error('DATABASE_URL is not set: it says which database to migrate.');
    }
    const { applied } = await applyMigrations({ databaseUrl });
    say(applied.length === 0 ? 'Nothing to apply.' : `Applied ${applied.join(', ')}.`);
  } else if (command === 'draft' && name !== undefined) {
    say((await draftMigration(name)) ?? 'Nothing has changed since the last migration.');
  } else {
    process.stderr.write(USAGE);
    process.exitCode = 2;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const startedAs = process.argv[1];
if (startedAs !== undefined && realpathSync(startedAs) === import.meta.filename) {
  await runCommand(process.argv.slice(2)).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}
