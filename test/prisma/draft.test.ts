import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { draftMigration } from '../../prisma/draft.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const DATASOURCE = 'datasource db {\n  provider = "postgresql"\n}\n';
const ONE_TABLE = `${DATASOURCE}model Server {\n  id Int @id\n}\n`;
const ONE_MORE_COLUMN = `${DATASOURCE}model Server {\n  id Int @id\n  name String?\n}\n`;

let folder: TemporaryDirectory;

beforeEach(async () => {
  folder = await makeTemporaryDirectory();
});

afterEach(() => folder.remove());

async function draft(schema: string): Promise<string | undefined> {
  await writeFile(join(folder.path, 'schema.prisma'), schema);
  const path = await draftMigration('a_change', folder.path);
  return path === undefined ? undefined : await readFile(path, 'utf8');
}

describe('draftMigration', () => {
  test('begins with the whole schema and goes on with what has changed since the last draft', async () => {
    expect(await draft(ONE_TABLE)).toContain('CREATE TABLE "Server"');
    expect((await draft(ONE_MORE_COLUMN))?.trim()).toBe(
      '-- AlterTable\nALTER TABLE "Server" ADD COLUMN     "name" TEXT;',
    );
  });

  test('writes nothing when nothing has changed', async () => {
    await draft(ONE_TABLE);
    expect(await draft(ONE_TABLE)).toBeUndefined();
  });

  test('refuses a name that is no folder name', async () => {
    await expect(draftMigration('../up', folder.path)).rejects.toThrow('no name for a migration');
  });
});
