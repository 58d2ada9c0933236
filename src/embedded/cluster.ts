import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { AppError } from '../domain/errors.ts';
import type { Account } from './account.ts';
import { readOptional } from './files.ts';
import type { Home } from './home.ts';
import type { Programs } from './programs.ts';

const TIMEOUT_MS = 120_000;

/** The superuser and the database are Muster's own: nobody else uses this server. */
export const USER = 'muster';
export const DATABASE = 'muster';

/** Nothing is inherited: a `PGPORT` or `PGDATA` that somebody has set for another server must not reach this one. */
export const POSTGRES_ENVIRONMENT = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  LC_ALL: 'C',
  TZ: 'UTC',
};

export interface Cluster {
  readonly dataDirectory: string;
  readonly password: string;
}

/**
 * The data files of the server, made on first use. `kill -9` at any moment is no harm: the files get their final name
 * when they are complete, and the password is kept before they are begun.
 */
export async function prepareCluster(
  home: Home,
  programs: Programs,
  account: Account | undefined,
  isDurable: boolean,
): Promise<Cluster> {
  const password = await keepPassword(join(home.ownDirectory, 'password'));
  const dataDirectory = join(home.clusterDirectory, 'data');
  if ((await readOptional(join(dataDirectory, 'PG_VERSION'))) !== undefined) {
    return { dataDirectory, password };
  }
  const draft = `${dataDirectory}.new`;
  const passwordFile = join(home.clusterDirectory, 'first-password');
  try {
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { mode: 0o700 });
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (account !== undefined) {
      await chown(draft, account.uid, account.gid);
      await chown(passwordFile, account.uid, account.gid);
    }
    const files = [
      `--pgdata=${draft}`,
      `--pwfile=${passwordFile}`,
      ...(isDurable ? [] : ['--no-sync']),
    ];
    await runToEnd(programs.initdb, [...INITDB_OPTIONS, ...files], account, '');
    await runToEnd(
      programs.postgres,
      ['--single', '-D', draft, '-c', 'exit_on_error=on', 'postgres'],
      account,
      `CREATE DATABASE ${DATABASE}\n`,
    );
    await rename(draft, dataDirectory);
  } finally {
    await rm(passwordFile, { force: true });
  }
  return { dataDirectory, password };
}

/** PostgreSQL's own C.UTF-8 sorts alike on every machine, whatever locales the system has. */
const INITDB_OPTIONS = [
  `--username=${USER}`,
  '--auth=scram-sha-256',
  '--encoding=UTF8',
  '--no-locale',
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
  '--no-instructions',
];

async function keepPassword(path: string): Promise<string> {
  const existing = await readOptional(path);
  if (existing !== undefined) {
    return existing;
  }
  const password = randomBytes(32).toString('base64url');
  await writeFile(`${path}.new`, password, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return password;
}

async function runToEnd(
  program: string,
  args: readonly string[],
  account: Account | undefined,
  input: string,
): Promise<void> {
  const child = spawn(program, args, {
    cwd: '/',
    env: POSTGRES_ENVIRONMENT,
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout: TIMEOUT_MS,
    // Ctrl-C goes to all processes of the group; what is half made here would only have to be made again.
    detached: true,
    ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
  });
  const ended = new Promise<number | string>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? signal ?? 'nothing'));
  });
  // A program that ends before it has read everything says why by its exit.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [outcome, errors] = await Promise.all([ended, text(child.stderr)]);
  if (outcome !== 0) {
    throw new AppError(
      'service_unavailable',
      `The embedded PostgreSQL could not be set up: ${program} ended with ${outcome}: ${errors.trim().slice(-2000)}`,
    );
  }
}
