import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Everything in this folder runs before anything is installed or built: Node's own modules only, and no TypeScript.

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Something that the person at the terminal has to mend; its message alone is shown. */
export class BootstrapError extends Error {
  /** @param {string} message @param {number} [exitCode] */
  constructor(message, exitCode = 1) {
    super(message);
    this.name = 'BootstrapError';
    this.exitCode = exitCode;
  }
}

/** Say what is being done. On stderr, since stdout belongs to the program that is started.
 * @param {string} line */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/**
 * Run a program to its end with the terminal as its own.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, quiet?: boolean, copyTo?: NodeJS.WritableStream }} [options] quiet: show its
 *   output only if it fails; copyTo: what else gets its output, which the caller ends
 * @returns {Promise<number>} its exit code; 128 + n if signal n ended it, as in a shell
 */
export async function run(program, args, { env = process.env, quiet = false, copyTo } = {}) {
  const output = quiet || copyTo !== undefined ? 'pipe' : 'inherit';
  const child = spawn(program, args, { cwd: ROOT, env, stdio: ['ignore', output, output] });
  const chunks = [];
  for (const name of ['stdout', 'stderr']) {
    child[name]?.on('data', (chunk) => {
      if (quiet) {
        chunks.push(chunk);
      } else {
        process[name].write(chunk);
      }
      copyTo?.write(chunk);
    });
  }
  const exitCode = await new Promise((resolve, reject) => {
    child.on('error', (cause) =>
      reject(new BootstrapError(`${program} could not be run: ${cause.message}`)),
    );
    child.on('close', (code, signal) => resolve(code ?? 128 + (SIGNALS[signal] ?? 0)));
  });
  if (exitCode !== 0) {
    process.stderr.write(Buffer.concat(chunks));
  }
  return exitCode;
}

/** As `run`, for what must succeed.
 * @param {string} what told to the person if it fails
 * @param {string} program @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, quiet?: boolean }} [options] */
export async function mustRun(what, program, args, options) {
  const exitCode = await run(program, args, options);
  if (exitCode !== 0) {
    throw new BootstrapError(`${what} failed: ${program} ended with ${exitCode}.`, exitCode);
  }
}

/** The path of a file of an installed package, to be run by this same Node.
 * @param {string} path */
export function inNodeModules(path) {
  return join(ROOT, 'node_modules', path);
}

/**
 * The frame of every script: a `BootstrapError` becomes one line and an exit code.
 * @param {() => Promise<void>} main
 */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof BootstrapError)) {
      throw error;
    }
    say(error.message);
    process.exitCode = error.exitCode;
  }
}

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };
