import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertApplication } from '../../src/store/applications.ts';
import { listAuditEvents } from '../../src/store/audit-events.ts';
import { findBuildOf, insertBuild, replaceBuildAttributes } from '../../src/store/builds.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { createTestDatabase } from '../support/postgres.ts';

const AT_ONCE = 20;
const event = {
  username: 'ada',
  remoteAddress: null,
  requestId: null,
  action: 'build.change',
  application: 'shop',
  subject: 'b1',
};

describe("replacing a build's attributes", () => {
  let database: Database;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const test = await createTestDatabase();
    drop = test.drop;
    database = openDatabase({ databaseUrl: test.databaseUrl });
    const { id: applicationId } = await insertApplication(database.db, 'shop');
    const build = { applicationId, name: 'b1', attributes: { n: -1 } };
    await insertBuild(database.db, build);
  });
  afterAll(async () => {
    await database.close();
    await drop();
  });

  it('writes down each of many at once, with what the one before it has left', async () => {
    const numbers = Array.from({ length: AT_ONCE }, (_, n) => n);
    const changed = await Promise.all(
      numbers.map((n) =>
        replaceBuildAttributes(
          database,
          { application: 'shop', name: 'b1', attributes: { n } },
          event,
        ),
      ),
    );
    expect(changed.map((build) => build?.attributes)).toEqual(numbers.map((n) => ({ n })));

    const events = (await listAuditEvents(database.db, {}, 100)).reverse();
    const links = new Map(
      events.map(({ before, after }) => [JSON.stringify(before), JSON.stringify(after)]),
    );
    expect(events).toHaveLength(AT_ONCE);
    expect(links.size).toBe(AT_ONCE);
    let last: string | undefined = JSON.stringify({ attributes: { n: -1 } });
    for (let next = links.get(last); next !== undefined; next = links.get(next)) last = next;
    const present = await findBuildOf(database, 'shop', 'b1');
    expect(last).toBe(JSON.stringify({ attributes: present?.attributes }));
  });

  it('writes nothing of a build that there is not', async () => {
    const count = async (): Promise<number> => (await listAuditEvents(database.db, {}, 100)).length;
    const before = await count();
    const build = { application: 'shop', name: 'b2', attributes: {} };
    expect(await replaceBuildAttributes(database, build, event)).toBeNull();
    expect(await count()).toBe(before);
  });
});
