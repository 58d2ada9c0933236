import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inNodeModules, run } from './run.mjs';

/**
 * Run vitest, and end with one plain line of counts for people and programs that read nothing else.
 * @param {readonly string[]} args for vitest
 * @returns {Promise<number>} vitest's exit code
 */
export async function runTests(args) {
  const folder = mkdtempSync(join(tmpdir(), 'muster-results-'));
  const results = join(folder, 'results.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
  try {
    const vitest = inNodeModules('vitest/vitest.mjs');
    const exitCode = await run(process.execPath, [vitest, 'run', ...reporters, ...args]);
    process.stdout.write(`${summarize(results, exitCode)}\n`);
    return exitCode;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} results path of what vitest's JSON reporter has written
 * @param {number} exitCode of vitest
 */
function summarize(results, exitCode) {
  const told = readResults(results);
  if (told === undefined) {
    return 'vitest ended without results: 0 passed, 1 failed, 0 skipped';
  }
  // A file that cannot even be loaded has no tests to count, and an error between the tests belongs to none.
  const unloadable = told.testResults.filter(
    (file) =>
      file.status === 'failed' && file.assertionResults.every((one) => one.status !== 'failed'),
  );
  const counted = told.numFailedTests + unloadable.length;
  const failed = counted === 0 && exitCode !== 0 ? 1 : counted;
  const skipped = told.numPendingTests + told.numTodoTests;
  return `${told.numPassedTests} passed, ${failed} failed, ${skipped} skipped`;
}

/** @param {string} path */
function readResults(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
