import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { runToEnd } from '../fleet/run-to-end.ts';

/** A process, and when it began: a number alone says little, as it is given again. */
export interface ProcessMark {
  readonly pid: number;
  readonly startedAt: string;
}

const POLL_MS = 50;

/** @throws {Error} if there is no such process */
export async function processMark(pid: number): Promise<ProcessMark> {
  const startedAt = await readMark(pid);
  if (startedAt === undefined) throw new Error(`Process ${pid} has ended.`);
  return { pid, startedAt };
}

/** When a process began, in the system's own form; undefined if there is none, or only its exit code is left. */
export async function readMark(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    const { stdout } = await runToEnd(['ps', '-o', 'lstart=', '-p', `${pid}`]);
    return stdout.trim() || undefined;
  }
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses, which may hold spaces; the start is the 22nd (proc(5)).
    const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : `${boot.trim()} ${rest[18]}`;
  } catch {
    return undefined;
  }
}

/** Asks a process to end and waits for it; by force when the time is up. */
export async function endProcess(mark: ProcessMark, timeoutMs: number): Promise<void> {
  const isThere = async (): Promise<boolean> => (await readMark(mark.pid)) === mark.startedAt;
  const deadline = performance.now() + timeoutMs;
  if (await isThere()) signalProcess(mark.pid, 'SIGTERM');
  while (await isThere()) {
    if (performance.now() > deadline) signalProcess(mark.pid, 'SIGKILL');
    await sleep(POLL_MS);
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}
