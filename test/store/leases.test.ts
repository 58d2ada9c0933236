import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/store/database.ts';
import {
  acquireLeases,
  fenceOf as fenceIn,
  fencesOf,
  type Lease,
  parkLeases,
  releaseHolder,
  releaseLeases,
  renewLeases,
} from '../../src/store/leases.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

describe('leases', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = openDatabase({ databaseUrl: testDatabase.databaseUrl });
  });
  beforeEach(() => database.db.$executeRaw`truncate leases`);
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });
  const acquire = async (keys: string[], holder: string) => {
    const taken = await acquireLeases(database, keys, holder);
    if ('heldBy' in taken) throw new Error(`held by ${taken.heldBy}`);
    return taken.leases;
  };
  const fenceOf = (leases: readonly Lease[], key: string) => fenceIn(fencesOf(leases), key);
  const expire = () =>
    database.db.$executeRaw`update leases set expires_at = now() - interval '1 second'`;

  it('are taken all or none, and name who has the first one that is taken', async () => {
    await acquire(['b'], 'first');
    expect(await acquireLeases(database, ['a', 'b', 'c'], 'second')).toEqual({
      heldBy: 'first',
      key: 'b',
    });
    await expect(acquire(['a', 'c'], 'third')).resolves.toHaveLength(2);
  });

  it('are given again to their holder, with a higher fence', async () => {
    const first = await acquire(['a'], 'me');
    const again = await acquire(['a'], 'me');
    expect(fenceOf(again, 'a')).toBeGreaterThan(fenceOf(first, 'a'));
  });

  it('cannot be renewed or released by a holder that was outdated', async () => {
    const old = await acquire(['a'], 'me');
    const now = await acquire(['a'], 'me');
    expect(await renewLeases(database.db, 'me', old)).toBe(false);
    await releaseLeases(database.db, 'me', old);
    expect(await renewLeases(database.db, 'me', now)).toBe(true);
    expect(await acquireLeases(database, ['a'], 'other')).toMatchObject({ heldBy: 'me' });
  });

  it('go to another holder once they have expired or were released, with a higher fence', async () => {
    const first = await acquire(['a'], 'first');
    await expire();
    const second = await acquire(['a'], 'second');
    expect(fenceOf(second, 'a')).toBeGreaterThan(fenceOf(first, 'a'));
    expect(await renewLeases(database.db, 'first', first)).toBe(false);
    await releaseLeases(database.db, 'second', second);
    const third = await acquire(['a'], 'third');
    expect(fenceOf(third, 'a')).toBeGreaterThan(fenceOf(second, 'a'));
  });

  it('outlive a pause of their holder once they are parked, and end with it', async () => {
    const mine = await acquire(['a', 'b'], 'me');
    await parkLeases(database.db, 'me', mine);
    await database.db.$executeRaw`
      update leases set expires_at = now() - interval '1 second' where expires_at <> 'infinity'`;
    expect(await acquireLeases(database, ['a'], 'other')).toMatchObject({ heldBy: 'me' });
    const again = await acquire(['a', 'b'], 'me');
    expect(fenceOf(again, 'a')).toBeGreaterThan(fenceOf(mine, 'a'));
    await parkLeases(database.db, 'me', mine);
    await expire();
    await acquire(['a'], 'other');
    await releaseHolder(database.db, 'me');
    await expect(acquire(['b'], 'third')).resolves.toHaveLength(1);
  });

  it('are taken, renewed and given back by the hundred thousand', async () => {
    const keys = Array.from({ length: 100_000 }, (_, i) => `server-${i}:/opt/application`);
    const leases = await acquire(keys, 'me');
    expect(fencesOf(leases).size).toBe(100_000);
    expect(await renewLeases(database.db, 'me', leases)).toBe(true);
    await releaseLeases(database.db, 'me', leases);
    await expect(acquire(['server-5:/opt/application'], 'other')).resolves.toHaveLength(1);
  });

  it('go to exactly one of many who ask at once, and never deadlock', async () => {
    const keys = ['c', 'a', 'b'];
    const asked = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        acquireLeases(database, i % 2 === 0 ? keys : [...keys].reverse(), `holder-${i}`),
      ),
    );
    expect(asked.filter((one) => 'leases' in one)).toHaveLength(1);
  });
});
