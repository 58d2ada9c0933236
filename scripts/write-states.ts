import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withLifecycles } from './lifecycles/render.ts';

// Writes the lifecycles of src/domain/deployment-state.ts into docs/architecture.md: `npx tsx scripts/write-states.ts`. A
// test tells when that is due.
const file = join(import.meta.dirname, '../docs/architecture.md');
await writeFile(file, withLifecycles(await readFile(file, 'utf8')));
