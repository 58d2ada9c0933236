import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { applyMigrations } from '../../prisma/migrate.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Superuser of the run's PostgreSQL, connected to a database that no test uses. */
    readonly postgresUrl: string;
    /** A database with all migrations applied and nobody connected, to be cloned. */
    readonly templateDatabase: string;
  }
}

const TEMPLATE_DATABASE = 'migrated_template';

// A crash of the machine may lose a test database; what a killed server or client does is not affected.
const FAST_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '200',
};

/** Start one PostgreSQL for all test files of a project, and a template for their databases. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await makeTemporaryDirectory();
  const postgres = await startEmbeddedPostgres({
    directory: directory.path,
    relocateTo: join(directory.path, 'relocated'),
    settings: FAST_SETTINGS,
    log: () => undefined,
  });
  await createTemplate(postgres);
  project.provide('postgresUrl', postgres.databaseUrl);
  project.provide('templateDatabase', TEMPLATE_DATABASE);
  return async () => {
    await postgres.stop();
    await directory.remove();
  };
}

async function createTemplate(postgres: EmbeddedPostgres): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.databaseUrl });
  await client.connect();
  try {
    await client.query(`create database ${TEMPLATE_DATABASE}`);
  } finally {
    await client.end();
  }
  const url = new URL(postgres.databaseUrl);
  url.pathname = TEMPLATE_DATABASE;
  await applyMigrations({ databaseUrl: url.href });
}
