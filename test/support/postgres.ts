import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { inject } from 'vitest';

export interface TestDatabase {
  readonly databaseUrl: string;
  /**
   * Remove the database. Fails if a connection is still open, naming it: the code under test has leaked it.
   * @param options.force for tests that kill processes, whose connections go when they go
   */
  drop(options?: { readonly force?: boolean }): Promise<void>;
}

interface OpenConnection {
  readonly application_name: string;
  readonly state: string | null;
  readonly query: string;
}

const CLOSE_TIMEOUT_MS = 20_000;
const POLL_MS = 50;

/** A database of the caller's own with all migrations applied, or an `empty` one; takes about 0.1 s. */
export async function createTestDatabase(
  options: { readonly empty?: boolean } = {},
): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  const template = options.empty === true ? 'template0' : inject('templateDatabase');
  await withAdministrator((client) => client.query(`create database ${name} template ${template}`));
  const url = new URL(inject('postgresUrl'));
  url.pathname = name;
  return {
    databaseUrl: url.href,
    drop: async ({ force = false } = {}) => {
      const leaked = force ? [] : await waitForConnections(name);
      await withAdministrator((client) =>
        client.query(`drop database if exists ${name} with (force)`),
      );
      if (leaked.length > 0) {
        const told = leaked.map((one) => `${one.application_name} (${one.state}): ${one.query}`);
        throw new Error(`${leaked.length} connections were not closed:\n${told.join('\n')}`);
      }
    },
  };
}

/** @returns the connections that are still open after the time in which closed ones disappear */
async function waitForConnections(database: string): Promise<readonly OpenConnection[]> {
  const end = performance.now() + CLOSE_TIMEOUT_MS;
  return await withAdministrator(async (client) => {
    for (;;) {
      const { rows } = await client.query<OpenConnection>(
        'select application_name, state, query from pg_stat_activity where datname = $1',
        [database],
      );
      if (rows.length === 0 || performance.now() > end) {
        return rows;
      }
      await sleep(POLL_MS);
    }
  });
}

async function withAdministrator<T>(run: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: inject('postgresUrl') });
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}
