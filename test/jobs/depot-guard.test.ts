import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Depot, openDepot } from '../../src/depot/depot.ts';
import { EMPTY_TREE } from '../../src/depot/git.ts';
import { createDepotGuard } from '../../src/jobs/depot-guard.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { depotLeaseKey, depotWriterKey } from '../../src/store/depot-upkeep.ts';
import { acquireLeases } from '../../src/store/leases.ts';
import { tarGz } from '../depot/archive-builders.ts';
import { type DepotFixture, git, noise, openDepotFixture } from '../depot/fixtures.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

const AUTHOR = { name: 'Ann', email: 'ann@localhost' };
const gitrepoId = 'repo';

let fixture: DepotFixture;
let testDatabase: TestDatabase;
let databases: Database[];
/** The same depot, as two processes have it. */
let one: Depot;
let other: Depot;

beforeEach(async () => {
  fixture = await openDepotFixture();
  testDatabase = await createTestDatabase();
  databases = [1, 2].map(() => openDatabase({ databaseUrl: testDatabase.databaseUrl }));
  [one, other] = await Promise.all([openGuarded(0), openGuarded(1)]);
});
afterEach(async () => {
  await Promise.all(databases.map((database) => database.close()));
  await testDatabase.drop();
  await fixture.close();
});

function databaseOf(index: number): Database {
  const database = databases[index];
  if (database === undefined) throw new Error('there is no such database');
  return database;
}

/** @param quietWaitMs how long its upkeep waits for writers */
function openGuarded(index: number, quietWaitMs = 60_000): Promise<Depot> {
  const guard = createDepotGuard(databaseOf(index), { quietWaitMs, quietPollMs: 20 });
  return openDepot({ directory: fixture.directory, guard });
}

/** Upkeep that spares nothing for being young. @returns whether it has deleted */
async function maintain(depot: Depot): Promise<boolean> {
  const { applicationId } = fixture;
  const report = await depot.maintain({ applicationId, trees: [], commits: [], graceMs: 0 });
  return report?.isPruned ?? false;
}

const orderOf = (message: string, parent: string | null = null, tree = EMPTY_TREE) => {
  const { applicationId } = fixture;
  return { applicationId, tree, parent, message, author: AUTHOR, date: new Date(0) };
};
const branchOf = (branch: string, commit: string) => {
  const { applicationId } = fixture;
  return { applicationId, gitrepoId, branch, commit };
};
const isThere = (commit: string): Promise<boolean> =>
  fixture.depot.hasCommit(fixture.applicationId, commit);

/** The rows of leases that say that somebody works in the depot. */
const writers = () =>
  databaseOf(0).db.lease.findMany({
    where: { key: { startsWith: `${depotLeaseKey(fixture.applicationId)}:` } },
  });

describe('what is written into a depot', () => {
  it('is not deleted by another process before a ref names it', async () => {
    const request = { applicationId: fixture.applicationId };
    const impatient = await openGuarded(1, 0);
    const commit = await one.write(request, async (writer) => {
      const made = await writer.commitTree(orderOf('made'));
      expect(await maintain(impatient)).toBe(false);
      expect(await isThere(made)).toBe(true);
      await writer.keepHead(branchOf('master', made));
      return made;
    });
    const lost = await fixture.depot.commitTree(orderOf('lost a race'));
    expect(await writers()).toEqual([]);
    expect(await maintain(other)).toBe(true);
    expect([await isThere(commit), await isThere(lost)]).toEqual([true, false]);
  });

  it('is waited for by who deletes', async () => {
    const request = { applicationId: fixture.applicationId };
    let upkeep = Promise.resolve(false);
    const commit = await one.write(request, async (writer) => {
      upkeep = maintain(other);
      const made = await writer.commitTree(orderOf('made'));
      await writer.keepHead(branchOf('master', made));
      return made;
    });
    expect(await upkeep).toBe(true);
    expect(await isThere(commit)).toBe(true);
  });

  it('may be written within what writes already', async () => {
    const request = { applicationId: fixture.applicationId };
    const commit = await one.write(request, () =>
      one.write(request, async (writer) => {
        const made = await writer.commitTree(orderOf('inner'));
        await writer.keepHead(branchOf('master', made));
        return made;
      }),
    );
    expect(await isThere(commit)).toBe(true);
  });

  it('waits while things are deleted, and not for other depots', async () => {
    const guard = createDepotGuard(databaseOf(0));
    const { applicationId } = fixture;
    const order: string[] = [];
    let writing = Promise.resolve();
    await guard.whileQuiet({ applicationId }, async (isStillQuiet) => {
      writing = one.write({ applicationId }, () => {
        order.push('written');
        return Promise.resolve();
      });
      await one.write({ applicationId: 'app-2' }, () => Promise.resolve());
      expect(await isStillQuiet()).toBe(true);
      order.push('deleted');
    });
    await writing;
    expect(order).toEqual(['deleted', 'written']);
  });

  it('ends with the reason of its signal while it waits', async () => {
    const guard = createDepotGuard(databaseOf(0));
    const { applicationId } = fixture;
    await guard.whileQuiet({ applicationId }, async () => {
      const reason = new Error('the worker stops');
      const signal = AbortSignal.abort(reason);
      const writing = one.write({ applicationId, signal }, () => Promise.resolve());
      await expect(writing).rejects.toBe(reason);
    });
  });
});

describe('who is killed', () => {
  it('while it writes, holds off upkeep for as long as it may be alive, and leaves nothing', async () => {
    const { db } = databaseOf(0);
    const key = depotWriterKey(fixture.applicationId);
    await acquireLeases(databaseOf(0), [key], key);
    expect(await maintain(await openGuarded(1, 0))).toBe(false);
    await db.lease.update({ where: { key }, data: { expiresAt: new Date(0) } });
    expect(await maintain(other)).toBe(true);
    expect(await writers()).toEqual([]);
  });

  it('while it deletes, holds off writers for as long as it may be alive', async () => {
    const { db } = databaseOf(0);
    const { applicationId } = fixture;
    const key = depotLeaseKey(applicationId);
    await acquireLeases(databaseOf(0), [key], 'upkeep:killed');
    let isWritten = false;
    const writing = one.write({ applicationId }, () => {
      isWritten = true;
      return Promise.resolve();
    });
    const impatient = createDepotGuard(databaseOf(1), { quietWaitMs: 0 });
    let isDeleting = false;
    await impatient.whileQuiet({ applicationId }, () => {
      isDeleting = true;
      return Promise.resolve();
    });
    expect([isWritten, isDeleting]).toEqual([false, false]);
    await db.lease.update({ where: { key }, data: { expiresAt: new Date(0) } });
    await writing;
    expect(await maintain(other)).toBe(true);
  });

  it('or stalls, deletes no more once its lease is over or somebody writes', async () => {
    const guard = createDepotGuard(databaseOf(0));
    const { applicationId } = fixture;
    const { db } = databaseOf(0);
    await guard.whileQuiet({ applicationId }, async (isStillQuiet) => {
      expect(await isStillQuiet()).toBe(true);
      const key = depotWriterKey(applicationId);
      await acquireLeases(databaseOf(1), [key], key);
      expect(await isStillQuiet()).toBe(false);
      await db.lease.delete({ where: { key } });
      expect(await isStillQuiet()).toBe(true);
      const over = { where: { key: depotLeaseKey(applicationId) } };
      await db.lease.update({ ...over, data: { expiresAt: new Date(0) } });
      expect(await isStillQuiet()).toBe(false);
    });
  }, 30_000);
});

describe('upkeep that deletes at once, beside uploads and commits', () => {
  const WRITERS = 3;
  const COMMITS = 5;

  it('never takes away anything that was written', async () => {
    const { applicationId } = fixture;
    const state = { isWriting: true, rounds: 0 };
    /** Uploads builds and commits them; what was uploaded is then deleted, so that only the commits need it. Each waits for upkeep now and then, so that this comes in between. */
    const commitAll = async (depot: Depot, branch: string): Promise<string[]> => {
      const commits: string[] = [];
      for (let n = 0; n < COMMITS; n += 1) {
        const buildId = `${branch}-${n}`;
        const bytes = tarGz([
          { name: 'own', content: noise(200, n + 1) },
          { name: `shared-${n}`, content: 'the same in all builds' },
        ]);
        const archivePath = await fixture.spool(bytes);
        const build = { applicationId, buildId, archivePath, fileType: 'tar.gz' } as const;
        const { tree } = await depot.ingestBuild(build);
        const order = orderOf(`${branch} ${n}`, commits.at(-1) ?? null, tree);
        // As a worker that died before it could name what it made: the same commit is made again below.
        await depot.write({ applicationId }, (writer) => writer.commitTree(order));
        const commit = await depot.write({ applicationId }, async (writer) => {
          const made = await writer.commitTree(order);
          await sleep(n);
          await writer.keepHead(branchOf(branch, made));
          return made;
        });
        await depot.deleteBuild(applicationId, buildId);
        commits.push(commit);
        const seen = state.rounds;
        await expect.poll(() => state.rounds, { timeout: 60_000 }).toBeGreaterThan(seen);
      }
      return commits;
    };
    const maintainAll = async (): Promise<void> => {
      while (state.isWriting) {
        await maintain(other);
        state.rounds += 1;
      }
    };
    const writing = Promise.all(
      Array.from({ length: WRITERS }, (_, n) => commitAll(n % 2 === 0 ? one : other, `b${n}`)),
    ).finally(() => {
      state.isWriting = false;
    });
    const [made] = await Promise.all([writing, maintainAll()]);
    expect(await maintain(one)).toBe(true);
    expect(await git(['fsck', '--full', '--strict', '--no-dangling'], fixture.gitDir)).toBe('');
    for (const commits of made) {
      const history = await git(['rev-list', commits.at(-1) ?? ''], fixture.gitDir);
      expect(history.split('\n')).toEqual([...commits].reverse());
    }
  }, 120_000);
});
