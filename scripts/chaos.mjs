import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { prepare } from './bootstrap/prepare.mjs';
import { runMain } from './bootstrap/run.mjs';
import { ensureSystemPackages } from './bootstrap/system-packages.mjs';

// node scripts/chaos.mjs [arguments of scripts/chaos/main.ts]; without any: all of it, in both modes, see docs/chaos.md

await runMain(async () => {
  await ensureSystemPackages(['openssh-server', 'redis-server']);
  await prepare();
  const given = process.argv.slice(2);
  const runs =
    given.length > 0
      ? [given]
      : ['distributed', 'embedded'].map((mode) => ['--mode', mode, '--report', 'docs/chaos.md']);
  for (const args of runs) {
    const child = spawn(process.execPath, ['--import', 'tsx', 'scripts/chaos/main.ts', ...args], {
      stdio: 'inherit',
    });
    const [code] = await once(child, 'exit');
    if (code !== 0) process.exitCode = 1;
  }
});
