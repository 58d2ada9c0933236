import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ErrorBody } from '../../src/domain/errors.ts';
import type { StepProgress } from '../../src/domain/step-progress.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import type { StepRow } from '../../src/store/deployments.ts';
import {
  finishSteps,
  progressOf,
  type StepStart,
  saveStepsProgress,
  startSteps,
} from '../../src/store/steps.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

let testDatabase: TestDatabase;
let database: Database;
let batchId: string;
let deploymentId: string;
let ids: string[];

const stepOf = async (id: string | undefined): Promise<StepRow> =>
  await database.db.step.findUniqueOrThrow({ where: { id: id ?? 'none' } });
const stepsOf = async (): Promise<StepRow[]> => await Promise.all(ids.map(stepOf));
const startOf = (id: string, n: number): StepStart => ({
  id,
  fromCommit: `from ${n}`,
  fromBuildId: null,
  toCommit: `to ${n}`,
});
const progressAt = (state: number): StepProgress => ({
  run: 1,
  stage: 'prepull',
  state,
  offset: 7,
  switched: null,
  before: {
    deployedBuildId: null,
    deployedCommit: `it's "${state}"\n`,
    headCommit: '1',
    deployedAt: null,
    deploymentId: null,
    drift: 'none',
    missedBuildId: null,
    missedDeploymentId: null,
    missedAt: null,
  },
});
const ERROR: ErrorBody = { code: 'internal', message: 'It\'s "broken"\n🚀.', details: { a: [1] } };

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ databaseUrl: testDatabase.databaseUrl });
  const { db } = database;
  const application = await db.application.create({ data: { name: 'shop' } });
  const deployment = await db.deployment.create({
    data: {
      applicationId: application.id,
      buildName: 'b1',
      username: 'admin',
      target: {},
      options: {},
    },
  });
  deploymentId = deployment.id;
  const rest = { slice: 0, level: 0, ordered: false, pauseAfterSeconds: 0 };
  batchId = (await db.batch.create({ data: { deploymentId, index: 0, ...rest } })).id;
});
beforeEach(async () => {
  const { db } = database;
  await db.step.deleteMany();
  ids = ['web01', 'web02', 'web03'].map(() => randomUUID());
  await db.step.createMany({
    data: ids.map((id, n) => ({
      id,
      batchId,
      deploymentId,
      serverId: randomUUID(),
      serverName: `web0${n + 1}`,
      gitdeployId: randomUUID(),
      gitdeployName: 'Web',
    })),
  });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

describe('steps that begin', () => {
  it('have each what it begins with, and the time', async () => {
    const fromBuildId = randomUUID();
    const starts = ids.map(startOf);
    await startSteps(
      database.db,
      starts.map((start, n) => (n === 1 ? { ...start, fromBuildId } : start)),
    );
    expect(await stepsOf()).toMatchObject(
      starts.map(({ fromCommit, toCommit }, n) => ({
        fromCommit,
        toCommit,
        fromBuildId: n === 1 ? fromBuildId : null,
        status: 'running',
        attempts: 1,
        startedAt: expect.any(Date),
        finishedAt: null,
        progress: null,
      })),
    );
  });

  it('count their attempts, each its own, and keep their progress where none is given', async () => {
    const starts = ids.map(startOf);
    await startSteps(
      database.db,
      starts.map((start, n) => ({ ...start, progress: progressAt(n) })),
    );
    await startSteps(
      database.db,
      starts
        .slice(0, 2)
        .map((start, n) => (n === 0 ? { ...start, progress: progressAt(9) } : start)),
    );
    const steps = await stepsOf();
    expect(steps.map(({ attempts }) => attempts)).toEqual([2, 2, 1]);
    expect(steps.map(progressOf)).toEqual([progressAt(9), progressAt(1), progressAt(2)]);
  });

  it.each(['succeeded', 'failed', 'skipped', 'cancelled'] as const)(
    'are none of them begun where one of them is %s',
    async (status) => {
      await finishSteps(database.db, [{ id: ids[1] ?? '', status }]);
      const before = await stepsOf();
      await expect(database.transaction((tx) => startSteps(tx, ids.map(startOf)))).rejects.toThrow(
        'has ended',
      );
      expect(await stepsOf()).toEqual(before);
    },
  );
});

describe('steps that go on', () => {
  it('have their progress written down, each its own, and nothing else', async () => {
    await startSteps(database.db, ids.map(startOf));
    const [first, second, third] = await stepsOf();
    const [a = '', b = ''] = ids;
    await saveStepsProgress(database.db, [
      { id: a, progress: progressAt(1) },
      { id: b, progress: progressAt(2) },
    ]);
    expect(await stepsOf()).toEqual([
      { ...first, progress: progressAt(1) },
      { ...second, progress: progressAt(2) },
      third,
    ]);
  });
});

describe('steps that end', () => {
  it('have each its own end, and no progress any more', async () => {
    await startSteps(
      database.db,
      ids.map((id, n) => ({ ...startOf(id, n), progress: progressAt(n) })),
    );
    const [a = '', b = '', c = ''] = ids;
    await finishSteps(database.db, [
      { id: a, status: 'succeeded', logExcerpt: 'done\n' },
      { id: b, status: 'failed', error: ERROR, logExcerpt: '' },
    ]);
    const ended = { progress: null, finishedAt: expect.any(Date), attempts: 1 };
    expect(await stepsOf()).toMatchObject([
      { ...ended, status: 'succeeded', error: null, logExcerpt: 'done\n' },
      { ...ended, status: 'failed', error: ERROR, logExcerpt: '' },
      { status: 'running', finishedAt: null, logExcerpt: null, progress: progressAt(2) },
    ]);
    await finishSteps(database.db, [{ id: c, status: 'cancelled' }]);
    expect(await stepOf(c)).toMatchObject({
      ...ended,
      status: 'cancelled',
      error: null,
      logExcerpt: null,
    });
  });

  it('keep the excerpt that they have where none is given, also beside one that has another', async () => {
    const [a = '', b = ''] = ids;
    await finishSteps(database.db, [
      { id: a, status: 'failed', error: ERROR, logExcerpt: 'first a' },
      { id: b, status: 'failed', error: ERROR, logExcerpt: 'first b' },
    ]);
    await finishSteps(database.db, [
      { id: a, status: 'skipped' },
      { id: b, status: 'succeeded', logExcerpt: 'second b' },
    ]);
    expect((await stepsOf()).slice(0, 2)).toMatchObject([
      { status: 'skipped', error: null, logExcerpt: 'first a' },
      { status: 'succeeded', error: null, logExcerpt: 'second b' },
    ]);
  });

  it.each([
    ['quotes', `'; drop table steps; -- "\\' $1 \${2}`],
    ['line ends', 'a\nb\r\nc\r\u2028'],
    ['an emoji', '🚀👩‍👩‍👧'],
  ])('keep %s in an excerpt and an error as they are', async (_, text) => {
    const error = { ...ERROR, message: text };
    const [id = ''] = ids;
    await finishSteps(database.db, [{ id, status: 'failed', error, logExcerpt: text }]);
    expect(await stepOf(id)).toMatchObject({ error, logExcerpt: text });
  });

  // An excerpt is cut anywhere, also in the middle of what two halves stand for.
  it.each([
    ['the second half of an emoji', '\udc00 end', '\ufffd end'],
    ['the first half of an emoji', 'end \ud800', 'end \ufffd'],
  ])('end also where their excerpt has only %s', async (_, logExcerpt, kept) => {
    const [a = '', b = ''] = ids;
    await finishSteps(database.db, [
      { id: a, status: 'failed', error: { ...ERROR, message: logExcerpt }, logExcerpt },
      { id: b, status: 'succeeded', logExcerpt: 'fine' },
    ]);
    expect((await stepsOf()).slice(0, 2)).toMatchObject([
      { status: 'failed', logExcerpt: kept },
      { status: 'succeeded', logExcerpt: 'fine' },
    ]);
  });

  it('may be none', async () => {
    const before = await stepsOf();
    await finishSteps(database.db, []);
    expect(await stepsOf()).toEqual(before);
  });
});
