import { prepare } from './bootstrap/prepare.mjs';
import { runMain } from './bootstrap/run.mjs';
import { ensureSystemPackages } from './bootstrap/system-packages.mjs';

await runMain(async () => {
  await ensureSystemPackages(['openssh-server']);
  await prepare();
  await import('../dist/scripts/demo/main.js');
});
