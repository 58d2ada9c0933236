import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/store/database.ts';
import {
  abandonClaims,
  type Claim,
  claimJob,
  findJob,
  finishJob,
  insertJob,
  listDueJobs,
  releaseClaim,
  renewClaim,
} from '../../src/store/jobs.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

describe('jobs', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  let id: string;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = openDatabase({ databaseUrl: testDatabase.databaseUrl });
  });
  beforeEach(async () => {
    await database.db.$executeRaw`truncate jobs`;
    const job = { kind: 'create_gitrepo', data: {}, username: 'admin', applicationId: null };
    id = (await insertJob(database.db, job)).id;
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });
  const claim = async (worker: string): Promise<Claim> => {
    const job = await claimJob(database.db, id, worker);
    if (job === null) throw new Error('not claimed');
    return { id, worker, attempts: job.attempts };
  };
  const silence = () =>
    database.db.$executeRaw`update jobs set lease_expires_at = now() - interval '1 second'`;

  it('are claimed by one worker of many', async () => {
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, i) => claimJob(database.db, id, `worker-${i}`)),
    );
    expect(claims.filter((c) => c !== null)).toHaveLength(1);
  });

  it('are free at once when it is known that no worker lives any more', async () => {
    const before = await claim('gone');
    expect(await claimJob(database.db, id, 'next')).toBeNull();
    expect(await abandonClaims(database.db)).toBe(1);
    expect(await claimJob(database.db, id, { worker: 'next', leaseSeconds: 2 })).toMatchObject({
      worker: 'next',
      attempts: 2,
    });
    expect(await renewClaim(database.db, before)).toBe(false);
  });

  it('go to another worker when theirs is silent, and the silent one can change nothing any more', async () => {
    const first = await claim('first');
    expect(await claimJob(database.db, id, 'second')).toBeNull();
    await silence();
    const second = await claim('second');
    expect(await renewClaim(database.db, first)).toBe(false);
    expect(
      await finishJob(database.db, first, { status: 'succeeded', result: 'stale' }),
    ).toBeNull();
    expect(await releaseClaim(database.db, first, 0)).toBe(false);
    expect(await finishJob(database.db, second, { status: 'succeeded', result: 'true' })).toBe(
      'succeeded',
    );
    expect(await findJob(database.db, id)).toMatchObject({ status: 'succeeded', result: 'true' });
  });

  it('are due when nobody has them, and not before their time', async () => {
    expect(await listDueJobs(database.db, 10)).toEqual([id]);
    const held = await claim('worker');
    expect(await listDueJobs(database.db, 10)).toEqual([]);
    await releaseClaim(database.db, held, 60_000);
    expect(await listDueJobs(database.db, 10)).toEqual([]);
    expect(await claimJob(database.db, id, 'early')).toBeNull();
    await database.db.$executeRaw`update jobs set run_at = now()`;
    expect(await listDueJobs(database.db, 10)).toEqual([id]);
  });

  it('are never claimed again once they are over', async () => {
    const held = await claim('worker');
    await finishJob(database.db, held, {
      status: 'failed',
      error: { code: 'internal', message: 'Broken.', details: {} },
    });
    expect(await claimJob(database.db, id, 'other')).toBeNull();
    expect(await listDueJobs(database.db, 10)).toEqual([]);
  });
});
