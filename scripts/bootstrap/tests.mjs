import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inNodeModules, run, say } from './run.mjs';
import { lookForSecrets, makeRunFolder } from './secrets.mjs';

/**
 * Run vitest, look for secrets in all that the run wrote, and end with one plain line of counts for people and programs
 * that read nothing else.
 * @param {readonly string[]} args for vitest; none: all tests
 * @returns {Promise<number>} vitest's exit code, or 1 if a secret was shown
 */
export async function runTests(args) {
  const folder = mkdtempSync(join(tmpdir(), 'muster-results-'));
  const results = join(folder, 'results.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
  try {
    const vitest = inNodeModules('vitest/vitest.mjs');
    makeRunFolder(folder);
    const output = createWriteStream(join(folder, 'output', 'vitest.log'));
    const vitestExitCode = await run(process.execPath, [vitest, 'run', ...reporters, ...args], {
      // What vitest writes goes through a pipe, by which it could no longer see that there are colors.
      env: { ...colors(), ...process.env, MUSTER_TEST_OUTPUT: folder },
      copyTo: output,
    });
    await new Promise((resolve) => output.end(resolve));
    const { passed, text } = lookForSecrets(folder, { mustHaveSome: args.length === 0 });
    say(text);
    const exitCode = passed ? vitestExitCode : vitestExitCode || 1;
    process.stdout.write(`${summarize(results, exitCode)}\n`);
    return exitCode;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function colors() {
  return process.stdout.isTTY && process.env.NO_COLOR === undefined ? { FORCE_COLOR: '1' } : {};
}

/**
 * @param {string} results path of what vitest's JSON reporter has written
 * @param {number} exitCode of the run
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
