import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';

const Manifest = z.object({ version: z.string() });

/** Version of Muster, from the first package.json above this file: sources and build lie at different depths. */
export function readVersion(): string {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, 'package.json'))) {
    const above = dirname(directory);
    if (above === directory) throw new Error('there is no package.json above the program');
    directory = above;
  }
  return Manifest.parse(JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))).version;
}
