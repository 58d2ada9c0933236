import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { chooseAccount } from '../../src/embedded/account.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { isAlive } from '../../src/embedded/processes.ts';
import { findProgram } from '../support/parts.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const isRoot = process.getuid?.() === 0;

let folder: TemporaryDirectory;
let messages: string[];
const running: EmbeddedPostgres[] = [];
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = await makeTemporaryDirectory();
  messages = [];
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
  }
  for (const postgres of running.splice(0)) {
    await postgres.stop();
  }
  await folder.remove();
});

async function start(
  directory: string,
  relocateTo = join(folder.path, 'relocated'),
): Promise<string> {
  const postgres = await startEmbeddedPostgres({
    directory,
    relocateTo,
    settings: { fsync: 'off' },
    log: (message) => messages.push(message),
  });
  running.push(postgres);
  return postgres.databaseUrl;
}

async function stopAll(): Promise<void> {
  for (const postgres of running.splice(0)) {
    await postgres.stop();
  }
}

async function query(databaseUrl: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Start PostgreSQL in a process that can be killed. @returns its URL */
async function startInChild(directory: string): Promise<{ url: string; child: ChildProcess }> {
  const path = new URL('./fixtures/run-postgres.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--import', 'tsx', path, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [url]: unknown[] = await once(createInterface(child.stdout), 'line');
  return { url: String(url), child };
}

async function readPostmasterPid(dataDirectory: string): Promise<number> {
  const text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8');
  return Number(text.split('\n')[0]);
}

describe('startEmbeddedPostgres', () => {
  test('keeps what was written from one start to the next', async () => {
    await query(await start(folder.path), "create table kept as select 'ä' as letter");
    await stopAll();
    expect(await query(await start(folder.path), 'select letter from kept')).toEqual([
      { letter: 'ä' },
    ]);
  });

  test('lets nobody in without the password, which only its user can read', async () => {
    const url = new URL(await start(folder.path));
    const password = join(folder.path, 'postgres', 'password');
    expect((await stat(password)).mode & 0o777).toBe(0o600);
    expect(await readFile(password, 'utf8')).toBe(url.password);
    url.password = 'wrong';
    await expect(query(url.href, 'select 1')).rejects.toThrow('password authentication failed');
  });

  test('stores text as UTF-8 and sorts it alike on every machine', async () => {
    const url = await start(folder.path);
    expect(
      await query(url, "select * from (values ('b'), ('B'), ('a'), ('_')) as t (v) order by v"),
    ).toEqual(['B', '_', 'a', 'b'].map((v) => ({ v })));
    expect(await query(url, 'show server_encoding')).toEqual([{ server_encoding: 'UTF8' }]);
  });

  test('starts without loss after the process that ran it was killed', async () => {
    const { url, child } = await startInChild(folder.path);
    await query(url, 'create table kept (id int)');
    child.kill('SIGKILL');
    const next = await start(folder.path);
    expect(await query(next, 'select count(*)::int as n from kept')).toEqual([{ n: 0 }]);
  });

  test.skipIf(findProgram('setpriv') === undefined)(
    'ends by itself soon after the process that started it is killed',
    async () => {
      const { child } = await startInChild(folder.path);
      const pid = await readPostmasterPid(join(folder.path, 'postgres', 'data'));
      expect(await isAlive(pid)).toBe(true);
      child.kill('SIGKILL');
      await expect.poll(() => isAlive(pid)).toBe(false);
    },
  );

  test('shuts down an orphan of an earlier process before it starts', async () => {
    const { url, child } = await startInChild(folder.path);
    const pid = await readPostmasterPid(join(folder.path, 'postgres', 'data'));
    // The other process lives on, so its PostgreSQL does: what an earlier one leaves where nothing ends it.
    child.kill('SIGSTOP');
    const next = await start(folder.path);
    expect(next).not.toBe(url);
    expect(messages[0]).toContain('earlier run');
    expect(await isAlive(pid)).toBe(false);
  });

  test('is not hindered by a postmaster.pid whose number is another process by now', async () => {
    await start(folder.path);
    await stopAll();
    await writeFile(
      join(folder.path, 'postgres', 'data', 'postmaster.pid'),
      `${process.pid}\n/nowhere\n`,
    );
    expect(await query(await start(folder.path), 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  test('is started again on the same port when it dies', async () => {
    const url = await start(folder.path);
    process.kill(await readPostmasterPid(join(folder.path, 'postgres', 'data')), 'SIGKILL');
    await expect
      .poll(() => query(url, 'select 1 as one').catch(() => 'down'))
      .toEqual([{ one: 1 }]);
    await expect.poll(() => messages.at(-1)).toContain('started again');
  });

  test('is not hit by Ctrl-C, which goes to the whole process group', async () => {
    const { url, child } = await startInChild(folder.path);
    await query(url, 'select 1');
    const pid = await readPostmasterPid(join(folder.path, 'postgres', 'data'));
    const { stdout } = spawnSync('ps', ['-o', 'pgid=', '-p', String(pid)], { encoding: 'utf8' });
    expect(Number(stdout)).toBe(pid);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    await expect(query(url, 'select 1')).rejects.toThrow('ECONNREFUSED');
  });

  test('says what its log says when it cannot start', async () => {
    await start(folder.path);
    await stopAll();
    await writeFile(join(folder.path, 'postgres', 'data', 'PG_VERSION'), '9.6\n');
    await expect(start(folder.path)).rejects.toMatchObject({
      code: 'service_unavailable',
      message: expect.stringContaining('database files are incompatible with server'),
    });
  });
});

describe.skipIf(!isRoot)('startEmbeddedPostgres for root', () => {
  async function makeUnreachable(): Promise<string> {
    const directory = join(folder.path, 'private', 'muster');
    await mkdir(directory, { recursive: true });
    // More than a private data directory, which could be opened to the account: somebody else's folder above it.
    await chmod(join(folder.path, 'private'), 0o700);
    return directory;
  }

  test('opens a private data directory to its account and to nobody else', async () => {
    await start(folder.path);
    const { mode, gid } = await stat(folder.path);
    expect(mode & 0o777).toBe(0o710);
    expect(gid).toBe((await chooseAccount())?.gid);
  });

  test('puts the files elsewhere, and says where, when its account cannot reach the data directory', async () => {
    await chmod(folder.path, 0o711);
    const directory = await makeUnreachable();
    await query(await start(directory), 'create table kept (id int)');
    const place = (await readFile(join(directory, 'postgres', 'moved-to'), 'utf8')).trim();
    expect(messages[0]).toContain(place);
    await stopAll();
    expect(await query(await start(directory), 'select * from kept')).toEqual([]);
  });

  test('refuses a copy of a data directory whose files lie elsewhere', async () => {
    await chmod(folder.path, 0o711);
    const directory = await makeUnreachable();
    await start(directory);
    await stopAll();
    const copy = join(folder.path, 'private', 'copy');
    await mkdir(join(copy, 'postgres'), { recursive: true });
    await writeFile(
      join(copy, 'postgres', 'moved-to'),
      await readFile(join(directory, 'postgres', 'moved-to')),
    );
    await expect(start(copy)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('is a copy of'),
    });
  });
});
