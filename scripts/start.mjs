import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { prepare } from './bootstrap/prepare.mjs';
import { BootstrapError, ROOT, runMain } from './bootstrap/run.mjs';

// node scripts/start.mjs [api|worker|rotate-secret-key]: what it names, or Muster with everything it needs in one process.
// It runs in this very process, so signals and the exit code are the program's own.

const ENTRIES = {
  all: 'dist/workers/embedded.js',
  api: 'dist/src/server.js',
  worker: 'dist/workers/worker.js',
  'rotate-secret-key': 'dist/workers/rotate-secret-key.js',
};

await runMain(async () => {
  const [role = 'all'] = process.argv.slice(2);
  if (!Object.hasOwn(ENTRIES, role)) {
    throw new BootstrapError(
      `"${role}" cannot be started; choose api, worker or rotate-secret-key, or nothing for all.`,
      2,
    );
  }
  await prepare();
  const entry = join(ROOT, ENTRIES[role]);
  if (!existsSync(entry)) {
    throw new BootstrapError(`${entry} is missing although the build succeeded.`);
  }
  await import(entry);
});
