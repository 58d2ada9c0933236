import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The database of a Muster that has brought its own PostgreSQL, for looking behind its back.
 * @param output all that it wrote; the port is another one after each start
 */
export async function embeddedDatabaseUrl(dataDirectory: string, output: string): Promise<string> {
  const password = (await readFile(join(dataDirectory, 'postgres', 'password'), 'utf8')).trim();
  const port = [...output.matchAll(/PostgreSQL runs on 127\.0\.0\.1:(\d+)/g)].at(-1)?.[1] ?? '';
  return `postgresql://muster:${password}@127.0.0.1:${port}/muster`;
}
