import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { prepare } from './bootstrap/prepare.mjs';
import { BootstrapError, runMain, say } from './bootstrap/run.mjs';
import { ensureSystemPackages } from './bootstrap/system-packages.mjs';

// node scripts/bench.mjs [arguments of bench/main.ts]; see docs/benchmarks.md

/** The programs that Muster is compared with, each by itself: what cannot be installed is left out and said. */
const PEERS = ['rsync', 'ansible', 'ansible-mitogen', 'capistrano', 'zip', 'unzip'];

await runMain(async () => {
  const args = process.argv.slice(2);
  await ensureSystemPackages(['openssh-server']);
  if (!args.includes('--quick') && !args.includes('--help')) {
    for (const peer of PEERS) {
      try {
        await ensureSystemPackages([peer]);
      } catch (error) {
        if (!(error instanceof BootstrapError)) throw error;
        say(`${peer} is not there, and is not measured: ${error.message}`);
      }
    }
  }
  await prepare();
  const child = spawn(process.execPath, ['--import', 'tsx', 'bench/main.ts', ...args], {
    stdio: 'inherit',
  });
  const [code] = await once(child, 'exit');
  process.exitCode = code ?? 1;
});
