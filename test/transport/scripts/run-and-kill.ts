import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { RemoteScript } from '../../../src/remote/script.ts';

/**
 * How many calls further on a script is killed the next time: every third call will do each day, and with
 * `MUSTER_TEST_EVERY_KILL` set it is every one. Odd, so that what alternates with the calls does so in both.
 */
export const NEXT_KILL = process.env['MUSTER_TEST_EVERY_KILL'] === undefined ? 3 : 1;

/** At which call of these programs a script is killed. */
export interface Kill {
  readonly at: number;
  readonly when: 'before' | 'after';
  /** Default git alone. */
  readonly programs?: readonly string[];
}

/**
 * Run a script with programs that kill the script's whole process group at their n-th call: before the call, or after
 * it. (Of two that a pipe starts at once, both may count as the second: then nothing is killed.)
 * @param folder for the programs; is made
 * @returns whether there was an n-th call
 */
export async function runAndKill(
  folder: string,
  script: RemoteScript,
  kill: Kill,
  input: Buffer = Buffer.alloc(0),
): Promise<boolean> {
  const counter = join(folder, 'count');
  await mkdir(folder, { recursive: true });
  await writeFile(counter, '');
  const murder = 'kill -KILL 0; sleep 5';
  for (const program of kill.programs ?? ['git']) {
    const real = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program]).stdout.toString().trim();
    const end = kill.when === 'before' ? murder : `${real} "$@"; ${murder}`;
    await writeFile(
      join(folder, program),
      `#!/bin/sh\nprintf x >>"${counter}"\nread -r calls <"${counter}"\n[ "\${#calls}" -eq ${kill.at} ] || exec ${real} "$@"\n${end}\n`,
      { mode: 0o755 },
    );
  }
  const child = spawn('sh', ['-c', script.text, 'muster', ...script.args], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: `${folder}:/usr/bin:/bin` },
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  await once(child, 'close');
  // The others of its group die in the same moment, but not in the same instant.
  await expect
    .poll(() => groupExists(child.pid ?? 0), { timeout: 60_000, interval: 5 })
    .toBe(false);
  return (await readFile(counter, 'utf8')).length >= kill.at;
}

function groupExists(leader: number): boolean {
  try {
    return process.kill(-leader, 0);
  } catch {
    return false;
  }
}
