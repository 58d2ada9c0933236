import { type EndedProcess, runToEnd } from '../../scripts/fleet/run-to-end.ts';

/** A bound against waiting for ever, not a measure. */
const TIMEOUT_MS = 900_000;

/**
 * Runs a program that must succeed.
 * @throws {Error} with its last words
 */
export async function runProgram(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<EndedProcess> {
  const ended = await runToEnd(argv, { env: { ...process.env, ...env }, timeoutMs: TIMEOUT_MS });
  if (ended.exitCode === 0) return ended;
  const words = `${ended.stdout}\n${ended.stderr}`.trim().slice(-1500);
  throw new Error(`${argv.slice(0, 4).join(' ')} ended with ${ended.exitCode}: ${words}`);
}
