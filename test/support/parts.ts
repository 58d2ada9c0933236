import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** Programs of the system that some tests start for themselves, and the Debian packages that bring them. */
const PARTS = {
  'redis-server': 'redis-server',
  sshd: 'openssh-server',
  git: 'git',
  sudo: 'sudo',
} as const;

export type Part = keyof typeof PARTS;

/**
 * Say whether a program is there, for `describe.skipIf(!requirePart('sshd'))`. In CI nothing may be left out, so there
 * a missing one is an error; elsewhere the reason is printed.
 */
export function requirePart(part: Part): boolean {
  if (findProgram(part) !== undefined) {
    return true;
  }
  const reason = `${part} is not installed (Debian: apt-get install ${PARTS[part]})`;
  if (process.env['CI'] !== undefined) {
    throw new Error(`${reason}, and in CI no test may be skipped.`);
  }
  process.stderr.write(`Skipped: ${reason}.\n`);
  return false;
}

/** @returns the full path of a program, looked for where daemons lie as well */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
