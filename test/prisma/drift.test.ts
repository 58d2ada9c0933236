import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { expect, test } from 'vitest';
import { diffSchemas } from '../../prisma/draft.ts';
import { prismaDirectory } from '../../prisma/migrations.ts';
import { createTestDatabase } from '../support/postgres.ts';

/**
 * One line of text per thing that `schema.prisma` can describe. What it cannot, a migration may add by hand: check
 * constraints, partial indexes and those on expressions, functions and triggers.
 */
const DESCRIBE_DATABASE = `
  select 'column ' || table_name || '.' || column_name || ' ' || udt_name || ' ' || coalesce(datetime_precision::text, '-')
      || ' nullable ' || is_nullable || ' default ' || coalesce(column_default, '-') as line
    from information_schema.columns where table_schema = 'public' and table_name <> '_prisma_migrations'
  union all
  select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'public'::regnamespace and contype in ('p', 'f', 'u')
      and conrelid <> coalesce(to_regclass('_prisma_migrations'), 0::regclass)
  union all
  select 'index ' || pg_get_indexdef(indexrelid)
    from pg_index join pg_class on pg_class.oid = indexrelid
    where relnamespace = 'public'::regnamespace and indpred is null and indexprs is null
      and indrelid <> coalesce(to_regclass('_prisma_migrations'), 0::regclass)
  union all
  select 'enum ' || typname || ' ' || string_agg(enumlabel, ',' order by enumsortorder)
    from pg_enum join pg_type on pg_type.oid = enumtypid group by typname
  order by line`;

async function describeDatabase(databaseUrl: string, script: string): Promise<readonly string[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(script);
    const { rows } = await client.query<{ line: string }>(DESCRIBE_DATABASE);
    return rows.map((row) => row.line);
  } finally {
    await client.end();
  }
}

test('the migrations bring exactly the database that schema.prisma describes', async () => {
  const schema = await readFile(join(prismaDirectory(), 'schema.prisma'), 'utf8');
  const migrated = await createTestDatabase();
  const described = await createTestDatabase({ empty: true });
  try {
    const wanted = await describeDatabase(
      described.databaseUrl,
      (await diffSchemas(undefined, schema)) ?? '',
    );
    expect(wanted).not.toEqual([]);
    expect(await describeDatabase(migrated.databaseUrl, '')).toEqual(wanted);
  } finally {
    await migrated.drop();
    await described.drop();
  }
});
