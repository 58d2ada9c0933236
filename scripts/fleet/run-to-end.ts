import { spawn } from 'node:child_process';
import { buffer } from 'node:stream/consumers';

/** How a process that was run to its end ended, and all that it said. */
export interface EndedProcess {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Run a program by its argv, without a shell and without input, and collect what it says.
 * @throws if the program cannot be started; an exit code other than 0 is an answer, not an error.
 */
export async function runToEnd(
  argv: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly timeoutMs?: number } = {},
): Promise<EndedProcess> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: options.env ?? process.env,
    timeout: options.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    ended,
  ]);
  return { exitCode, stdout: stdout.toString('utf8'), stderr: stderr.toString('utf8') };
}
