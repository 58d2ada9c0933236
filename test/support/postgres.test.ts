import pg from 'pg';
import { expect, test } from 'vitest';
import { createTestDatabase } from './postgres.ts';

test('createTestDatabase fails a test that leaves a connection open, naming its last query', async () => {
  const database = await createTestDatabase();
  const client = new pg.Client({ connectionString: database.databaseUrl });
  // Dropping the database ends the connection from the other side.
  client.on('error', () => undefined);
  await client.connect();
  await client.query('select 42');
  await expect(database.drop()).rejects.toThrow(/1 connections were not closed:\n.*select 42/);
});
