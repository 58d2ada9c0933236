import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findQuietPort } from '../scripts/fleet/quiet-port.ts';
import { sealSecret } from '../src/domain/sealed-secret.ts';
import { openDatabase } from '../src/store/database.ts';
import { insertKeypair } from '../src/store/keypairs.ts';
import { requirePart } from './support/parts.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';
import { runProgram, startProgram } from './support/program.ts';
import { startRedis, type TestRedis } from './support/redis.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from './support/temporary-directory.ts';

const API = 'dist/src/server.js';
const WORKER = 'dist/workers/worker.js';
const ALL_IN_ONE = 'dist/workers/embedded.js';

const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;

/** Whether the program can be run as another user, for root may write everywhere. */
function nobodyMayRead(entry: string): boolean {
  if (!isRoot) return true;
  return (
    spawnSync('test', ['-r', join(import.meta.dirname, '..', entry)], { uid: NOBODY }).status === 0
  );
}

describe.skipIf(!requirePart('redis-server'))('a process of Muster', () => {
  let directory: TemporaryDirectory;
  let database: TestDatabase;
  let redis: TestRedis;
  const taken: Server = createServer();
  let takenPort = 0;

  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
    await chmod(directory.path, 0o755);
    database = await createTestDatabase();
    redis = await startRedis();
    await once(taken.listen(0, '127.0.0.1'), 'listening');
    const address = taken.address();
    takenPort = typeof address === 'object' && address !== null ? address.port : 0;
  });
  afterAll(async () => {
    taken.close();
    await redis.stop();
    await database.drop();
    await directory.remove();
  });

  const settings = (more: Record<string, string> = {}) => ({
    MUSTER_DATA_DIR: join(directory.path, 'data'),
    MUSTER_PORT: '0',
    DATABASE_URL: database.databaseUrl,
    REDIS_URL: redis.url,
    ...more,
  });
  /** One sentence for an operator, on one line, and nothing else but the log's JSON lines. */
  const sentenceOf = (stderr: string): string => {
    const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
    expect(lines).toHaveLength(1);
    return lines[0] ?? '';
  };
  const elsewhere = (
    url: string,
    change: Partial<Record<'port' | 'password' | 'pathname', string>>,
  ) => Object.assign(new URL(url), change).href;

  describe('ends with exit code 1 and one sentence, leaving no connection behind,', () => {
    it.each<[string, () => Record<string, string>, RegExp]>([
      ['a setting is wrong', () => ({ MUSTER_PORT: 'x' }), /MUSTER_PORT: .* See \.env\.example\.$/],
      [
        'PostgreSQL does not answer',
        () => ({ DATABASE_URL: elsewhere(database.databaseUrl, { port: '1' }) }),
        /PostgreSQL at 127\.0\.0\.1:1 cannot be used: .*ECONNREFUSED.*correct DATABASE_URL\.$/,
      ],
      [
        'the password is wrong',
        () => ({ DATABASE_URL: elsewhere(database.databaseUrl, { password: 'not-the-password' }) }),
        /PostgreSQL at .* cannot be used: password authentication failed/,
      ],
      [
        'the database does not exist',
        () => ({ DATABASE_URL: elsewhere(database.databaseUrl, { pathname: 'nowhere' }) }),
        /database "nowhere" does not exist/,
      ],
      [
        'Redis does not answer',
        () => ({ REDIS_URL: 'redis://127.0.0.1:1' }),
        /Redis at 127\.0\.0\.1:1 cannot be used: .*correct REDIS_URL\.$/,
      ],
      [
        'the port is taken',
        () => ({ MUSTER_PORT: String(takenPort) }),
        /cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\).*choose another MUSTER_PORT\.$/,
      ],
      [
        'the data directory is a file',
        () => ({ MUSTER_DATA_DIR: join(directory.path, 'file') }),
        /The data directory \S+\/file cannot be written: .*MUSTER_DATA_DIR\.$/,
      ],
    ])('when %s', async (_what, more, sentence) => {
      await writeFile(join(directory.path, 'file'), '');
      const { exitCode, stdout, stderr } = await runProgram(API, settings(more()));
      expect(sentenceOf(stderr)).toMatch(sentence);
      expect(stderr).not.toContain('not-the-password');
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    });

    it('when the data directory cannot be written', async ({ skip }) => {
      skip(!nobodyMayRead(API), 'as root, in a folder that no other user can enter');
      const data = join(directory.path, 'private');
      await mkdir(data);
      await chmod(data, 0o500);
      const nobody = isRoot ? NOBODY : undefined;
      const ended = await runProgram(API, settings({ MUSTER_DATA_DIR: data }), nobody);
      expect(sentenceOf(ended.stderr)).toMatch(
        /The data directory \S+\/private cannot be written: permission denied; give it to the user that Muster runs as/,
      );
      expect(ended.exitCode).toBe(1);
    });

    it('when the stored secrets were sealed with another key', async () => {
      const other = await createTestDatabase();
      const { db, close } = openDatabase({ databaseUrl: other.databaseUrl });
      await insertKeypair(db, {
        name: 'kp1',
        publicKey: 'ssh-ed25519 AAAA',
        fingerprint: 'SHA256:x',
        privateKeySealed: sealSecret('a private key', randomBytes(32)),
      });
      await close();
      for (const entry of [API, WORKER]) {
        const ended = await runProgram(entry, settings({ DATABASE_URL: other.databaseUrl }));
        expect(ended.exitCode).toBe(1);
        expect(sentenceOf(ended.stderr)).toMatch(
          /The secret key is not the one that keypair `kp1` was stored with\. Start with the right MUSTER_SECRET_KEY/,
        );
      }
      await other.drop();
    });

    it('when its own PostgreSQL cannot start', async () => {
      const data = join(directory.path, 'embedded');
      await mkdir(join(data, 'postgres', 'data'), { recursive: true, mode: 0o755 });
      await writeFile(join(data, 'postgres', 'data', 'PG_VERSION'), '7.0\n');
      const broken = await runProgram(ALL_IN_ONE, { MUSTER_DATA_DIR: data, MUSTER_PORT: '0' });
      expect(broken.exitCode).toBe(1);
      expect(broken.stderr).toMatch(/muster cannot start: The embedded PostgreSQL /);
    });
  });

  it('closes what is kept open, drains and ends with 0 when it is asked to stop', async () => {
    const program = startProgram(API, settings());
    const [, url = ''] = await program.says(/listening on (http:\S+)/);
    // The connection stays open, for a next request that never comes.
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    program.child.kill('SIGTERM');
    const { exitCode, stderr } = await program.ended;
    expect(exitCode).toBe(0);
    expect(stderr).toContain('"muster has stopped"');
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  it('of the kind worker answers health and metrics where it is told to', async () => {
    const token = randomBytes(32).toString('hex');
    const port = await findQuietPort();
    const api = startProgram(API, settings({ MUSTER_ADMIN_TOKEN: token }));
    await api.says(/listening/);
    const worker = startProgram(WORKER, settings({ MUSTER_WORKER_METRICS_PORT: String(port) }));
    await worker.says(/worker ready/);
    const get = (path: string) =>
      fetch(`http://127.0.0.1:${port}${path}`, { headers: { authorization: `Bearer ${token}` } });
    expect(await (await get('/readyz')).json()).toEqual({
      database: 'up',
      queue: 'up',
      storage: 'up',
    });
    expect(await (await get('/metrics')).text()).toContain('muster_ssh_connections 0');
    for (const { child, ended } of [worker, api]) {
      child.kill('SIGTERM');
      expect((await ended).exitCode).toBe(0);
    }
  });

  it('lets a request end after the first signal, and ends at once at the second', async () => {
    const token = randomBytes(32).toString('hex');
    const program = startProgram(API, settings({ MUSTER_ADMIN_TOKEN: token }));
    const [, url = ''] = await program.says(/listening on (http:\S+)/);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => undefined);
    // Its body never comes. That Muster asks for it says that the request is under way.
    socket.write(
      `PUT /app?app_name=a HTTP/1.1\r\nhost: x\r\nauth-token: ${token}\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n`,
    );
    const [asked] = await once(socket, 'data');
    expect(String(asked)).toContain('100 Continue');
    program.child.kill('SIGTERM');
    await program.says(/"muster stops"/);
    expect(program.child.exitCode).toBeNull();
    program.child.kill('SIGTERM');
    expect((await program.ended).exitCode).toBe(130);
    socket.destroy();
  });
});
