import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { MigrationList } from '@prisma/schema-engine-wasm';

/** `prisma/` of the source tree, found from `prisma/` itself and from `dist/prisma/` as well. */
export function prismaDirectory(): string {
  const candidates = [import.meta.dirname, resolve(import.meta.dirname, '../../prisma')];
  const found = candidates.find((directory) => existsSync(join(directory, 'schema.prisma')));
  if (found === undefined) {
    throw new Error(
      `No schema.prisma in ${candidates.join(' or ')}: is the installation complete?`,
    );
  }
  return found;
}

/**
 * A Prisma migrations folder, read into the form that the schema engine takes.
 * @param directory holds one folder per migration, `<timestamp>_<name>/migration.sql`; may be missing
 */
export async function readMigrations(directory: string): Promise<MigrationList> {
  const entries = existsSync(directory) ? await readdir(directory, { withFileTypes: true }) : [];
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const migrationDirectories = names.sort().map(async (name) => ({
    path: name,
    migrationFile: {
      path: 'migration.sql',
      content: {
        tag: 'ok' as const,
        value: await readFile(join(directory, name, 'migration.sql'), 'utf8'),
      },
    },
  }));
  return {
    baseDir: directory,
    lockfile: { path: 'migration_lock.toml', content: 'provider = "postgresql"\n' },
    shadowDbInitScript: '',
    migrationDirectories: await Promise.all(migrationDirectories),
  };
}
