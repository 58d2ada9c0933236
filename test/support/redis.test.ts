import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { requirePart } from './parts.ts';
import { startRedis, type TestRedis } from './redis.ts';

describe.skipIf(!requirePart('redis-server'))('startRedis', () => {
  let redis: TestRedis;

  beforeEach(async () => {
    redis = await startRedis();
  });

  afterEach(() => redis.stop());

  async function withClient<T>(run: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis(redis.url);
    try {
      return await run(client);
    } finally {
      client.disconnect();
    }
  }

  test('forgets everything on flush, and on a restart at the same address', async () => {
    await withClient((client) => client.set('key', 'value'));
    await redis.flush();
    expect(await withClient((client) => client.get('key'))).toBeNull();
    await withClient((client) => client.set('key', 'value'));
    const { pid, url } = redis;
    await redis.restart();
    expect(redis).toMatchObject({ url });
    expect(redis.pid).not.toBe(pid);
    expect(await withClient((client) => client.get('key'))).toBeNull();
  });
});
