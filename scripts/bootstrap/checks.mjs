import { mustRun, say } from './run.mjs';

/** What looks at the source without running it, cheapest first. */
const CHECKS = [
  ['format and lint (biome)', 'node_modules/@biomejs/biome/bin/biome', ['ci', '.']],
  ['types (tsc)', 'node_modules/typescript/bin/tsc', ['-p', '.', '--noEmit']],
  ['typed lint (eslint)', 'node_modules/eslint/bin/eslint.js', ['.']],
  ['arrows between parts (dependency-cruiser)', 'scripts/check-arrows.mjs', []],
  ['unused code and dependencies (knip)', 'node_modules/knip/bin/knip.js', []],
];

/** Each uses about one core. */
const AT_ONCE = 2;

/** Run all checks, two at a time. What one has to say is shown if it fails; then no further one is begun. */
export async function runChecks() {
  heading('checks');
  const waiting = [...CHECKS];
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [title, script, args] = next;
      try {
        await mustRun(title, process.execPath, [script, ...args], { quiet: true });
        say(`ok: ${title}`);
      } catch (error) {
        waiting.length = 0;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, lane));
  const failed = ends.find(({ status }) => status === 'rejected');
  if (failed !== undefined) {
    throw failed.reason;
  }
}

/** @param {string} title */
export function heading(title) {
  say(`\n── ${title} ${'─'.repeat(Math.max(0, 76 - title.length))}`);
}
