import { heading, runChecks } from './bootstrap/checks.mjs';
import { prepare } from './bootstrap/prepare.mjs';
import { runMain } from './bootstrap/run.mjs';
import { ensureSystemPackages } from './bootstrap/system-packages.mjs';
import { runTests } from './bootstrap/tests.mjs';

// node scripts/test.mjs [--only-tests] [arguments for vitest]

await runMain(async () => {
  const args = process.argv.slice(2);
  const forVitest = args.filter((arg) => arg !== '--only-tests');
  await ensureSystemPackages(['openssh-server', 'redis-server', 'sudo']);
  await prepare();
  if (forVitest.length === args.length) {
    await runChecks();
  }
  heading('tests (vitest)');
  process.exitCode = await runTests(forVitest);
});
