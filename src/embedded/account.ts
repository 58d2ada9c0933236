import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TIMEOUT_MS = 10_000;

/** The operating system's user that PostgreSQL runs as. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Made where no `postgres` user exists; its own name, so that a later system package is not confused. */
const OWN_ACCOUNT = 'muster-postgres';

/**
 * PostgreSQL refuses to run as root, so root has it run as somebody else.
 * @returns undefined if the present user can run it: the usual case
 */
export async function chooseAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) {
    return undefined;
  }
  const existing = (await findAccount('postgres')) ?? (await findAccount(OWN_ACCOUNT));
  if (existing !== undefined) {
    return existing;
  }
  // Where users cannot be made (a read-only /etc, no useradd) everybody has `nobody`.
  await run('useradd', ['--system', '--no-create-home', '--user-group', OWN_ACCOUNT], {
    timeout: TIMEOUT_MS,
  }).catch(() => undefined);
  return (await findAccount(OWN_ACCOUNT)) ?? (await findAccount('nobody'));
}

/**
 * True if the account may pass through every folder from the root down to the directory itself.
 * Access lists beyond the classic mode bits are not looked at: they count as no.
 */
export async function canEnter(account: Account | undefined, directory: string): Promise<boolean> {
  if (account === undefined) {
    return true;
  }
  const { mode, uid, gid } = await stat(directory);
  const bits = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  if ((mode & bits) === 0) {
    return false;
  }
  const parent = dirname(directory);
  return parent === directory || (await canEnter(account, parent));
}

async function findAccount(name: string): Promise<Account | undefined> {
  try {
    const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => readId(flag, name)));
    return uid === undefined || gid === undefined ? undefined : { name, uid, gid };
  } catch {
    return undefined;
  }
}

async function readId(flag: string, name: string): Promise<number> {
  const { stdout } = await run('id', [flag, name], { timeout: TIMEOUT_MS });
  return Number(stdout.trim());
}
