import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BulkChange, bulkChange } from '../../src/jobs/bulk-change.ts';
import type { JobContext } from '../../src/jobs/handler.ts';
import { createJobRecord } from '../../src/jobs/job-record.ts';
import { type Database, type Db, openDatabase } from '../../src/store/database.ts';
import { listJobEvents } from '../../src/store/events.ts';
import { claimJob, insertJob } from '../../src/store/jobs.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

let testDatabase: TestDatabase;
let database: Database;
let jobId: string;
let record: Pick<JobContext, 'emit' | 'record' | 'change' | 'transaction'>;
let lost: AbortController;
/** What each call of a writer was given, with the transaction in which it was. */
let calls: { readonly kind: string; readonly items: readonly string[]; readonly tx: string }[];

interface Item {
  readonly name: string;
}

const noted = async (tx: Db, kind: string, items: readonly Item[]): Promise<void> => {
  const [row] = await tx.$queryRaw<{ id: string }[]>`select pg_current_xact_id()::text as id`;
  calls.push({ kind, items: items.map(({ name }) => name), tx: row?.id ?? 'none' });
  if (items.some(({ name }) => name === 'refused')) throw new Error('this one is refused');
  for (const { name } of items) await tx.$executeRaw`insert into written (name) values (${name})`;
};
const writerOf = (kind: string): ((name: string) => BulkChange) => {
  const change = bulkChange<Item>((tx, items) => noted(tx, kind, items));
  return (name) => change({ name });
};
const plain = (name: string) => (tx: Db) => noted(tx, 'plain', [{ name }]);
/** Begins a transaction: what comes in the same breath waits for the next one. */
const begin = (): Promise<void> => record.change(() => Promise.resolve());
const written = async (): Promise<string[]> => {
  const rows = await database.db.$queryRaw<{ name: string }[]>`select name from written order by n`;
  return rows.map(({ name }) => name);
};
const told = async (): Promise<unknown[]> =>
  (await listJobEvents(database.db, jobId)).map(({ data }) => data);
const callsWithoutTransaction = () => calls.map(({ kind, items }) => [kind, items]);
const endOf = (promise: Promise<void>): Promise<string> =>
  promise.then(
    () => 'written',
    (error: unknown) => String(error),
  );

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ databaseUrl: testDatabase.databaseUrl });
  await database.db.$executeRaw`create table written (n serial primary key, name text not null)`;
});
beforeEach(async () => {
  await database.db.$executeRaw`truncate jobs, events, written`;
  const { db } = database;
  const job = { kind: 'create_gitrepo', data: {}, username: 'admin', applicationId: null };
  jobId = (await insertJob(db, job)).id;
  const claimed = await claimJob(db, jobId, 'worker');
  if (claimed === null) throw new Error('not claimed');
  lost = new AbortController();
  calls = [];
  const claim = { id: jobId, worker: 'worker', attempts: claimed.attempts };
  record = createJobRecord(database, { claim, stream: { jobId, deploymentId: null }, lost });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

describe('changes that come while others are being written', () => {
  it('are made by one call for all of a kind, in their order, in the transaction of what is told', async () => {
    const start = writerOf('start');
    const names = Array.from({ length: 50 }, (_, n) => `step ${n}`);
    const begun = begin();
    const all = names.map((name) => record.record('started', name, start(name)));
    await Promise.all([begun, ...all]);
    expect(callsWithoutTransaction()).toEqual([['start', names]]);
    expect(await written()).toEqual(names);
    expect(await told()).toEqual(names);
    const rows = await database.db.$queryRaw`
      select xmin::text as id from events union select xmin::text from written`;
    expect(rows).toEqual(calls.map(({ tx }) => ({ id: tx })));
  });

  it('are made kind by kind in the order in which the first of each kind came', async () => {
    const [start, end] = [writerOf('start'), writerOf('end')];
    const begun = begin();
    const all = [
      record.record('line', 1, start('a')),
      record.change(plain('b')),
      record.emit('line', 2),
      record.record('line', 3, end('c')),
      record.change(start('d')),
      record.record('line', 4, plain('e')),
      record.change(end('f')),
      record.record('line', 5, start('g')),
    ];
    await Promise.all([begun, ...all]);
    expect(callsWithoutTransaction()).toEqual([
      ['start', ['a', 'd', 'g']],
      ['plain', ['b']],
      ['end', ['c', 'f']],
      ['plain', ['e']],
    ]);
    expect(new Set(calls.map(({ tx }) => tx)).size).toBe(1);
    expect(await written()).toEqual(['a', 'd', 'g', 'b', 'c', 'f', 'e']);
    expect(await told()).toEqual([1, 2, 3, 4, 5]);
  });

  it('are all made where two kinds were made from the same function', async () => {
    const write = (tx: Db, items: readonly Item[]): Promise<void> => noted(tx, 'same', items);
    const [one, other] = [bulkChange(write), bulkChange(write)];
    const begun = begin();
    const all = [one({ name: 'a' }), other({ name: 'b' }), one({ name: 'c' })];
    const ends = all.map((change) => record.change(change));
    await Promise.all([begun, ...ends]);
    expect(callsWithoutTransaction()).toEqual([
      ['same', ['a', 'c']],
      ['same', ['b']],
    ]);
  });

  it('go on in the next transaction where there are too many for one, and keep their order', async () => {
    const start = writerOf('start');
    const names = Array.from({ length: 250 }, (_, n) => `step ${n}`);
    const begun = begin();
    const all = names.map((name) => record.record('started', name, start(name)));
    await Promise.all([begun, ...all]);
    expect(calls.length).toBeLessThan(10);
    expect(calls.flatMap(({ items }) => items)).toEqual(names);
    expect(await written()).toEqual(names);
    expect(await told()).toEqual(names);
  });
});

describe('a change that is refused', () => {
  it.each([
    ['one of a kind', writerOf('start')('refused')],
    ['one by itself', plain('refused')],
  ])('is heard of by its caller alone, and the others are written: %s', async (_, refused) => {
    const start = writerOf('start');
    const begun = begin();
    const all = [
      record.record('line', 1, start('a')),
      record.change(plain('b')),
      record.record('line', 2, refused),
      record.emit('line', 3),
      record.record('line', 4, start('c')),
    ].map(endOf);
    await begun;
    const error = 'Error: this one is refused';
    expect(await Promise.all(all)).toEqual(['written', 'written', error, 'written', 'written']);
    expect(await written()).toEqual(['a', 'b', 'c']);
    expect(await told()).toEqual([1, 3, 4]);
    expect(lost.signal.aborted).toBe(false);
  });

  it('by the database is heard of by its caller alone too, and does not stop what comes later', async () => {
    const insert = bulkChange<{ readonly name: string | null }>(async (tx, items) => {
      for (const { name } of items) {
        await tx.$executeRaw`insert into written (name) values (${name})`;
      }
    });
    const begun = begin();
    const names = ['a', null, 'c'];
    const all = names.map((name) => endOf(record.record('line', name, insert({ name }))));
    await begun;
    expect(await Promise.all(all)).toEqual([
      'written',
      expect.stringContaining('written'),
      'written',
    ]);
    await record.record('line', 'later', insert({ name: 'later' }));
    expect(await written()).toEqual(['a', 'c', 'later']);
    expect(await told()).toEqual(['a', 'c', 'later']);
  });
});

describe('what waits when the job turns out to be another’s', () => {
  it('is not written, and all of it hears that', async () => {
    const start = writerOf('start');
    const begun = record.change(async (tx) => {
      await tx.$executeRaw`update jobs set attempts = attempts + 1`;
    });
    const all = ['a', 'b'].map((name) => endOf(record.record('line', name, start(name))));
    await begun;
    const error = 'Error: the job was taken by another worker';
    expect(await Promise.all(all)).toEqual([error, error]);
    expect(await endOf(record.emit('line', 'c'))).toBe(error);
    expect([calls, await written(), await told()]).toEqual([[], [], []]);
    expect(lost.signal.aborted).toBe(true);
  });
});
