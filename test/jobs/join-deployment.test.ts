import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { claimJob, findJob, guardClaim, insertJob } from '../../src/store/jobs.ts';
import { claimSteps, saveStepTargets } from '../../src/store/step-claims.ts';
import { type ControlLab, SERVERS, startControlLab } from './control-lab.ts';

const WORKERS = 3;

let lab: ControlLab;
beforeAll(async () => {
  lab = await startControlLab();
});
afterAll(() => lab.close());

const db = () => lab.api.services.database.db;
const stepsOf = (deploymentId: string) => db().step.findMany({ where: { deploymentId } });
const joinedTo = async (deploymentId: string) => {
  const jobs = await db().job.findMany({ where: { kind: 'join_deployment' } });
  return jobs.filter(({ data }) => JSON.stringify(data).includes(deploymentId));
};
const notes = async () => Promise.all(SERVERS.map((server) => lab.notesOn(server)));

/** A deployment that is held in its first batch until all other workers have joined. */
async function beginWithGuests(build: string): Promise<string> {
  await lab.hold();
  const id = await lab.deploy(build, '&rolling_divisor=2');
  await expect
    .poll(async () => (await joinedTo(id)).filter(({ status }) => status === 'running').length)
    .toBe(WORKERS - 1);
  return id;
}

/** Every test begins with b1 on all servers and one worker. */
beforeEach(async () => {
  await lab.stopWorker();
  lab.startWorker();
  await lab.open();
  await lab.until(await lab.deploy('b1'), 'succeeded');
});

describe('workers beside the one that runs a deployment', () => {
  it('join it and run steps of it, each step in one worker only, all told in one stream', async () => {
    for (let more = 1; more < WORKERS; more += 1) lab.startWorker();
    let had = 'b1';
    let sharedBy = 0;
    // Who comes first takes what there is: a worker that is slow to look may find nothing left.
    for (const build of ['b2', 'b3', 'b2', 'b3', 'b2', 'b3']) {
      const before = await notes();
      const id = await beginWithGuests(build);
      await lab.open();
      await lab.until(id, 'succeeded');

      // Each server ran prepull and postpull once.
      for (const [index, said] of (await notes()).entries()) {
        expect(said.slice(before[index]?.length)).toEqual([`prepull ${had}`, `postpull ${build}`]);
      }
      had = build;
      const joined = await joinedTo(id);
      expect(joined.every(({ status }) => status === 'succeeded' || status === 'cancelled')).toBe(
        true,
      );
      // The results of the deployment's job tell of all steps, whoever ran them.
      const events = await db().event.findMany({ where: { deploymentId: id, kind: 'step' } });
      expect(new Set(events.map(({ jobId }) => jobId)).size).toBe(1);
      const ended = events.filter(({ data }) => JSON.stringify(data).includes('"succeeded"'));
      expect(ended).toHaveLength(SERVERS.length);
      const listed = (await lab.api.call('GET', '/job')).body.jobs;
      for (const one of joined) expect(listed).not.toContain(one.id);
      sharedBy = new Set((await stepsOf(id)).map(({ jobId }) => jobId)).size;
      if (sharedBy > 1) break;
    }
    expect(sharedBy).toBeGreaterThan(1);
  });

  it('are no longer there when the deployment is cancelled', async () => {
    for (let more = 1; more < WORKERS; more += 1) lab.startWorker();
    const id = await beginWithGuests('b2');
    // A share of a deployment is not cancelled by itself.
    const [joined] = await joinedTo(id);
    expect(await lab.api.call('POST', `/job/${joined?.id}/cancel`)).toMatchObject({
      status: 409,
      body: { error: { code: 'conflict', details: { deployment_id: id } } },
    });
    const cancelled = await lab.act(id, 'cancel', '?wait=60');
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    expect((await stepsOf(id)).map(({ status }) => status)).toEqual(SERVERS.map(() => 'cancelled'));
    for (const server of SERVERS) expect(await lab.versionOn(server)).toBe('b1');
  });

  it('when one dies, what it had in hand is taken over, and it can write no more should it wake up', async () => {
    await lab.hold();
    const id = await lab.deploy('b2', '&rolling_divisor=2');
    await expect
      .poll(async () => (await stepsOf(id)).filter(({ status }) => status === 'running').length)
      .toBe(2);
    // What a worker would do that joined, and dies before it has begun.
    const row = await insertJob(db(), {
      kind: 'join_deployment',
      data: { deploymentId: id, jobId: randomUUID() },
      username: 'muster',
      applicationId: null,
    });
    const claim = await claimJob(db(), row.id, { worker: 'dead', leaseSeconds: 3 });
    const batch = await db().batch.findFirstOrThrow({ where: { deploymentId: id, index: 1 } });
    await db().batch.update({ where: { id: batch.id }, data: { status: 'running' } });
    const steps = await stepsOf(id);
    const commit = steps.find(({ targetCommit }) => targetCommit !== null)?.targetCommit ?? '';
    const ofBatch = steps.filter(({ batchId }) => batchId === batch.id);
    const taken = await lab.api.services.database.transaction(async (tx) => {
      await saveStepTargets(
        tx,
        ofBatch.map((step) => ({ id: step.id, commit, isStaged: true })),
      );
      return claimSteps(tx, {
        batchId: batch.id,
        deploymentId: id,
        phase: 'forward',
        jobId: row.id,
        concurrency: 10,
        maxFailures: 0,
      });
    });
    expect(taken.steps).toHaveLength(1);
    await lab.open();

    await lab.until(id, 'succeeded');
    for (const server of SERVERS) expect(await lab.versionOn(server)).toBe('b2');
    expect(await findJob(db(), row.id)).toMatchObject({ status: 'failed' });
    const guarded = lab.api.services.database.transaction((tx) =>
      guardClaim(tx, { id: row.id, worker: 'dead', attempts: claim?.attempts ?? 0 }),
    );
    expect(await guarded).toBe(false);
  });
});
