import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';

/** `npm run fuzz` sets more; docs/fuzzing.md tells what came of it. */
const INPUTS = Number(process.env['MUSTER_FUZZ_INPUTS'] ?? 500);
const SEED = Number(process.env['MUSTER_FUZZ_SEED'] ?? 1);
const FIRST = Number(process.env['MUSTER_FUZZ_FIRST'] ?? 0);

/** One input in fifty is stored by git; each of these takes a few processes. */
const STORED_EVERY = 50;
const INPUT_LIMIT_MS = 120_000;
const SLOWEST_MS = 30_000;

interface Summary {
  readonly outcomes: Record<string, number>;
  readonly findings: readonly unknown[];
  readonly slowestMs: number;
  readonly maxRssMiB: number;
}

it(
  `${INPUTS} mutated archives are each stored or refused as an archive, in bounded time, and leave nothing behind`,
  async () => {
    const summary = await fuzz();
    if (INPUTS > 1000) process.stderr.write(`${JSON.stringify(summary, null, 2)}\n`);
    expect(summary.findings).toEqual([]);
    expect(summary.slowestMs).toBeLessThan(SLOWEST_MS);
    expect(summary.maxRssMiB).toBeLessThan(400);
    const total = Object.values(summary.outcomes).reduce((sum, each) => sum + each, 0);
    expect(total).toBe(INPUTS);
  },
  60_000 + INPUTS * 200,
);

/** Watches the probe, which says which input it begins. */
async function fuzz(): Promise<Summary> {
  const probe = join(import.meta.dirname, 'fuzz/fuzz-probe.ts');
  const args = ['--import', 'tsx', probe, ...[SEED, FIRST, INPUTS, STORED_EVERY].map(String)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let last = '';
  const watch = { isHanging: false };
  const giveUp = (): void => {
    watch.isHanging = true;
    child.kill('SIGKILL');
  };
  let timer = setTimeout(giveUp, INPUT_LIMIT_MS);
  for await (const line of createInterface({ input: child.stdout })) {
    clearTimeout(timer);
    timer = setTimeout(giveUp, INPUT_LIMIT_MS);
    last = line;
  }
  const code = await ended;
  clearTimeout(timer);
  if (watch.isHanging) throw new Error(`input ${last} of seed ${SEED} never ends`);
  if (code !== 0) throw new Error(`the probe died with ${code} at input ${last} of seed ${SEED}`);
  return JSON.parse(last);
}
