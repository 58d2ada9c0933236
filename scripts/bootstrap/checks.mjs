import { mustRun, say } from './run.mjs';

/** What looks at the source without running it, cheapest first. */
const CHECKS = [
  ['format and lint (biome)', 'node_modules/@biomejs/biome/bin/biome', ['ci', '.']],
  ['types (tsc)', 'node_modules/typescript/bin/tsc', ['-p', '.', '--noEmit']],
  ['typed lint (eslint)', 'node_modules/eslint/bin/eslint.js', ['.']],
  ['arrows between parts (dependency-cruiser)', 'scripts/check-arrows.mjs', []],
  ['unused code and dependencies (knip)', 'node_modules/knip/bin/knip.js', []],
];

/** Run all checks, up to the first that fails. */
export async function runChecks() {
  for (const [title, script, args] of CHECKS) {
    heading(title);
    await mustRun(title, process.execPath, [script, ...args]);
  }
}

/** @param {string} title */
export function heading(title) {
  say(`\n── ${title} ${'─'.repeat(Math.max(0, 76 - title.length))}`);
}
