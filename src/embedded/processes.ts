import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const POLL_MS = 20;
const PS_TIMEOUT_MS = 5_000;

/** False for a zombie too: in a container without an init process nobody may ever collect it. */
export async function isAlive(pid: number): Promise<boolean> {
  return (await readStartMark(pid)) !== undefined;
}

/**
 * When a process began, in whatever form the system tells it: good for comparing and nothing else.
 * A number of a process says little by itself, since it is given again after a restart of the machine or a container.
 * @returns undefined if there is no such process
 */
export async function readStartMark(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    return await readPs(pid, 'lstart=');
  }
  try {
    const [boot, status] = await Promise.all([
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      readFile(`/proc/${pid}/stat`, 'utf8'),
    ]);
    // The second field is the program's name in parentheses, which may hold spaces; the start is the 22nd (proc(5)).
    const [state, ...rest] = status.slice(status.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : `${boot.trim()} ${rest[18]}`;
  } catch {
    return undefined;
  }
}

/** The command line of a process, its arguments joined by spaces; undefined if there is no such process. */
export async function readCommandLine(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    return await readPs(pid, 'command=');
  }
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim();
  } catch {
    return undefined;
  }
}

/** @returns true if the condition came to hold within the time */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) {
      return false;
    }
    await sleep(POLL_MS);
  }
  return true;
}

export function isErrorWithCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

async function readPs(pid: number, field: string): Promise<string | undefined> {
  try {
    const { stdout } = await run('ps', ['-o', field, '-p', String(pid)], {
      timeout: PS_TIMEOUT_MS,
    });
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}
