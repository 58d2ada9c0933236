import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, SETTING_NAMES } from '../src/config.ts';
import { makeTemporaryDirectory, type TemporaryDirectory } from './support/temporary-directory.ts';

describe('settings', () => {
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    directory = await makeTemporaryDirectory();
  });
  afterAll(() => directory.remove());
  const load = (environment: Record<string, string>) =>
    loadConfig({ MUSTER_DATA_DIR: join(directory.path, 'data'), ...environment });

  it('are all in .env.example, and nothing else is, with the defaults that are given there', async () => {
    const example = await readFile(join(import.meta.dirname, '../.env.example'), 'utf8');
    const lines = [...example.matchAll(/^([A-Z_]+)=(.*)$/gm)];
    expect(lines.map(([, name]) => name).sort()).toEqual([...SETTING_NAMES].sort());
    const values = Object.fromEntries(lines.map(([, name, value]) => [name, value ?? '']));
    const fromExample = load({ ...values, MUSTER_DATA_DIR: join(directory.path, 'data') });
    expect(fromExample).toEqual(load({}));
    expect(values['MUSTER_DATA_DIR']).toBe('.muster');
  });

  it('choose the embedded mode by default and the distributed one by two URLs', () => {
    expect(load({}).backends).toEqual({ mode: 'embedded' });
    const urls = { DATABASE_URL: 'postgresql://x/y', REDIS_URL: 'redis://z' };
    expect(load(urls).backends).toEqual({
      mode: 'distributed',
      databaseUrl: 'postgresql://x/y',
      redisUrl: 'redis://z',
    });
    expect(() => load({ DATABASE_URL: 'postgresql://x/y' })).toThrow(
      /both DATABASE_URL and REDIS_URL/,
    );
  });

  it.each([
    ['MUSTER_PORT', 'eighty'],
    ['MUSTER_PORT', '70000'],
    ['MUSTER_ADMIN_TOKEN', 'short'],
    ['MUSTER_SECRET_KEY', 'not-hex'],
    ['MUSTER_LOG_LEVEL', 'loud'],
  ])('refuse %s=%s and name it', (name, value) => {
    expect(() => load({ [name]: value })).toThrow(name);
  });

  it('keep the secret key that was made at the first start, for its owner alone', async () => {
    const first = load({}).secretKey;
    expect(first).toHaveLength(32);
    expect(load({}).secretKey).toEqual(first);
    expect((await stat(join(directory.path, 'data/secret-key'))).mode & 0o777).toBe(0o600);
  });
});
