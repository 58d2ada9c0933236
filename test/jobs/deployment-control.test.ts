import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ControlLab, SERVERS, startControlLab } from './control-lab.ts';

let lab: ControlLab;
beforeAll(async () => {
  lab = await startControlLab();
});
afterAll(() => lab.close());

const all = (build: string | null) => Object.fromEntries(SERVERS.map((s) => [s, build]));
const versions = async () =>
  Object.fromEntries(await Promise.all(SERVERS.map(async (s) => [s, await lab.versionOn(s)])));
const deployed = async () =>
  Object.fromEntries(Object.entries(await lab.census()).map(([s, leaf]) => [s, leaf.deployed]));
const statuses = (batches: { status: string; steps: { status: string }[] }[]) =>
  batches.map((b) => [b.status, ...b.steps.map((s) => s.status)]);
const activeJobs = async () => (await lab.api.call('GET', '/job?active=true')).body.jobs;

/** Every test begins with b1 on all servers. */
beforeEach(async () => {
  for (const server of SERVERS) await lab.fail(server, false);
  await lab.open();
  await lab.until(await lab.deploy('b1'), 'succeeded');
});

describe('cancelling a deployment', () => {
  it('ends what runs, starts nothing more, and leaves every server on the build it had', async () => {
    await lab.hold();
    const id = await lab.deploy('b2');
    await expect.poll(async () => (await lab.show(id)).batches[0].steps[0].status).toBe('running');
    const asked = await lab.act(id, 'cancel', '?wait=20');
    expect(asked).toMatchObject({
      status: 200,
      body: { status: 'cancelled', job: { status: 'cancelled' } },
    });
    expect(statuses(asked.body.batches)).toEqual([
      ['cancelled', 'cancelled', 'cancelled'],
      ['cancelled', 'cancelled', 'cancelled'],
    ]);
    expect(await versions()).toEqual(all('b1'));
    expect(await deployed()).toEqual(all('b1'));
    expect(await activeJobs()).toEqual([]);
    await lab.open();
    await lab.until(await lab.deploy('b3'), 'succeeded');
  });

  it('cancels by its job just so, and says why when it is over', async () => {
    await lab.hold();
    const id = await lab.deploy('b2');
    const [job] = await activeJobs();
    expect((await lab.api.call('POST', `/job/${job}/cancel?wait=20`)).body).toMatchObject({
      status: 'cancelled',
      kind: 'run_deployment',
      data: { application: 'shop', deployment_id: id },
      error: { code: 'cancelled' },
    });
    expect((await lab.show(id)).status).toBe('cancelled');
    expect(await lab.act(id, 'cancel')).toMatchObject({
      status: 409,
      body: { error: { code: 'conflict' } },
    });
    expect(await lab.api.call('POST', `/job/${job}/cancel`)).toMatchObject({ status: 409 });
  });

  it('does not wait for a pause of the plan, nor for another deployment', async () => {
    const first = await lab.deploy('b2', '&rolling_pause=3600');
    await expect.poll(async () => (await lab.show(first)).batches[0].status).toBe('succeeded');
    const second = await lab.deploy('b3');
    await expect.poll(async () => (await activeJobs()).length).toBe(2);
    expect((await lab.act(second, 'cancel', '?wait=20')).body.status).toBe('cancelled');
    const ended = (await lab.act(first, 'cancel', '?wait=20')).body;
    expect(ended.status).toBe('cancelled');
    expect(statuses(ended.batches)).toEqual([
      ['succeeded', 'succeeded', 'succeeded'],
      ['cancelled', 'cancelled', 'cancelled'],
    ]);
    expect(await versions()).toEqual({ s0: 'b2', s1: 'b2', s2: 'b1', s3: 'b1' });
  });
});

describe('pausing a deployment', () => {
  it('waits for the running batch, keeps the servers, takes no place in the worker, and goes on', async () => {
    await lab.hold();
    const id = await lab.deploy('b2');
    await lab.until(id, 'running');
    expect(await lab.act(id, 'pause')).toMatchObject({
      status: 202,
      body: { status: 'running', pause_requested_at: expect.any(String) },
    });
    await lab.open();
    const paused = await lab.until(id, 'paused');
    expect(statuses(paused.batches)).toEqual([
      ['succeeded', 'succeeded', 'succeeded'],
      ['pending', 'pending', 'pending'],
    ]);
    const [row] = await lab.api.services.database.db.job.findMany({ where: { status: 'running' } });
    expect(row).toMatchObject({ worker: null });
    const other = await lab.deploy('b3');
    await expect
      .poll(async () => (await lab.api.call('GET', `/app/shop/deployments/${other}`)).body.status)
      .toBe('queued');
    expect(await lab.act(id, 'pause')).toMatchObject({ status: 409 });
    expect(await lab.act(id, 'resume', '?wait=20')).toMatchObject({
      status: 200,
      body: { status: 'succeeded', pause_requested_at: null },
    });
    await lab.until(other, 'succeeded');
    expect(await versions()).toEqual(all('b3'));
  });

  it('is refused unless it runs, and can be withdrawn before it has begun', async () => {
    await lab.hold();
    const id = await lab.deploy('b2');
    await lab.until(id, 'running');
    await lab.act(id, 'pause');
    expect(await lab.act(id, 'resume')).toMatchObject({
      status: 202,
      body: { pause_requested_at: null },
    });
    await lab.open();
    await lab.until(id, 'succeeded');
    for (const action of ['pause', 'resume', 'cancel', 'retry']) {
      expect(await lab.act(id, action)).toMatchObject({
        status: 409,
        body: { error: { code: 'conflict', message: expect.stringContaining(action) } },
      });
    }
  });
});

describe('retrying a deployment', () => {
  it('runs only what has not succeeded, with the same commits', async () => {
    await lab.fail('s2', true);
    const id = await lab.deploy('b2');
    const failed = await lab.until(id, 'failed');
    expect(statuses(failed.batches)[1]?.[1]).toBe('failed');
    expect(await lab.versionOn('s2')).toBe('b1');
    const before = await lab.notesOn('s0');
    await lab.fail('s2', false);
    const retried = await lab.act(id, 'retry', '?wait=20');
    expect(retried).toMatchObject({ status: 200, body: { status: 'succeeded', error: null } });
    expect(retried.body.commits).toEqual(failed.commits);
    expect(await lab.notesOn('s0')).toEqual(before);
    expect(await versions()).toEqual(all('b2'));
  });

  it('leaves a server alone that got something newer, and says so', async () => {
    await lab.fail('s2', true);
    const id = await lab.deploy('b2');
    await lab.until(id, 'failed');
    await lab.fail('s2', false);
    await lab.until(await lab.deploy('b3'), 'succeeded');
    const retried = await lab.act(id, 'retry', '?wait=20');
    expect(retried).toMatchObject({ status: 409, body: { error: { code: 'deployment_failed' } } });
    expect(retried.text).toContain('later deployment');
    expect(await versions()).toEqual(all('b3'));
    expect(await deployed()).toEqual(all('b3'));
  });
});

describe('rolling a deployment back', () => {
  it('puts back what each server had, in the opposite order, as a new commit', async () => {
    await lab.until(
      await lab.deploy('b3', '', { servers: ['s3'], gitdeploys: ['Web'] }),
      'succeeded',
    );
    const id = await lab.deploy('b2');
    const done = await lab.until(id, 'succeeded');
    const head = async () => (await lab.api.call('GET', '/app/shop/gitrepos/web')).body;
    const before = await head();
    const back = await lab.act(id, 'rollback', '?wait=20');
    expect(back).toMatchObject({ status: 200, body: { status: 'rolled_back', error: null } });
    expect(back.body.batches).toEqual(done.batches);
    expect(
      back.body.rollback_batches.map((b: { steps: { server: string }[] }) =>
        b.steps.map((s) => s.server),
      ),
    ).toEqual([
      ['s2', 's3'],
      ['s0', 's1'],
    ]);
    expect(await versions()).toEqual({ ...all('b1'), s3: 'b3' });
    expect(await deployed()).toEqual({ ...all('b1'), s3: 'b3' });
    const after = await head();
    expect(after.head_commit).not.toBe(before.head_commit);
    // Before it, the branch had what s3 had.
    expect(after.committed_build).toBe('b3');
    expect((await lab.notesOn('s0')).slice(-2)).toEqual(['prepull b2', 'postpull b1']);
    expect(await lab.act(id, 'rollback')).toMatchObject({ status: 409 });
  });

  it('begins by itself when too many servers fail, if so asked', async () => {
    await lab.fail('s2', true);
    const id = await lab.deploy('b2', '&on_failure=rollback');
    const back = await lab.until(id, 'rolled_back');
    expect(back).toMatchObject({ error: { code: 'deployment_failed' } });
    expect(statuses(back.batches)[0]).toEqual(['succeeded', 'succeeded', 'succeeded']);
    // What failed has put itself back already.
    expect(
      back.rollback_batches.flatMap((b: { steps: { server: string }[] }) =>
        b.steps.map((s) => s.server),
      ),
    ).toEqual(['s3', 's0', 's1']);
    expect(await versions()).toEqual(all('b1'));
    expect((await lab.census())['s0']).toEqual({ committed: 'b1', deployed: 'b1' });
  });

  it('takes a paused deployment back, and a failed rollback up again', async () => {
    await lab.hold();
    const id = await lab.deploy('b2');
    await lab.until(id, 'running');
    await lab.act(id, 'pause');
    await lab.open();
    await lab.until(id, 'paused');
    await lab.fail('s1', true);
    expect(await lab.act(id, 'rollback', '?wait=20')).toMatchObject({ status: 409 });
    const failed = await lab.show(id);
    expect(failed).toMatchObject({ status: 'failed' });
    expect(statuses(failed.batches)[1]).toEqual(['cancelled', 'cancelled', 'cancelled']);
    expect(await versions()).toEqual({ ...all('b1'), s1: 'b2' });
    expect(await lab.act(id, 'retry')).toMatchObject({ status: 409 });
    await lab.fail('s1', false);
    expect((await lab.act(id, 'rollback', '?wait=20')).body.status).toBe('rolled_back');
    expect(await versions()).toEqual(all('b1'));
  });

  it('leaves alone what a later deployment has changed, and refuses if that is all', async () => {
    const id = await lab.deploy('b2');
    await lab.until(id, 'succeeded');
    await lab.until(
      await lab.deploy('b3', '', { servers: ['s0'], gitdeploys: ['Web'] }),
      'succeeded',
    );
    expect((await lab.act(id, 'rollback', '?wait=20')).body.status).toBe('rolled_back');
    expect(await versions()).toEqual({ ...all('b1'), s0: 'b3' });
    expect((await lab.census())['s0']).toEqual({ committed: 'b3', deployed: 'b3' });
    const next = await lab.deploy('b2');
    await lab.until(next, 'succeeded');
    await lab.until(await lab.deploy('b3'), 'succeeded');
    expect(await lab.act(next, 'rollback')).toMatchObject({
      status: 409,
      body: { error: { message: expect.stringContaining('later deployments') } },
    });
  });
});

describe('deployments that overlap', () => {
  it('run in the order in which they were asked for', async () => {
    await lab.hold();
    const ids = [await lab.deploy('b2'), await lab.deploy('b3'), await lab.deploy('b1')];
    await lab.until(ids[0] ?? '', 'running');
    await lab.open();
    const ended: string[] = [];
    for (const id of ids) ended.push((await lab.until(id, 'succeeded')).finished_at);
    expect([...ended].sort()).toEqual(ended);
    expect(await versions()).toEqual(all('b1'));
  });
});

describe('a worker that stops', () => {
  it('hands a deployment over in the middle, and the next one ends it', async () => {
    await lab.hold();
    const id = await lab.deploy('b2');
    await lab.until(id, 'running');
    const stopping = lab.stopWorker();
    await lab.open();
    await stopping;
    expect((await lab.show(id)).status).toBe('running');
    lab.startWorker();
    await lab.until(id, 'succeeded');
    expect(await versions()).toEqual(all('b2'));
  });
});

describe('the audit', () => {
  it('says who asked a deployment for what', async () => {
    const id = await lab.deploy('b2');
    await lab.until(id, 'succeeded');
    await lab.act(id, 'rollback', '?wait=20');
    const rows = await lab.api.services.database.db.auditEvent.findMany({
      where: { subject: id },
      orderBy: { id: 'asc' },
    });
    expect(rows.map((r) => [r.username, r.action, r.application])).toEqual([
      ['admin', 'deployment.create', 'shop'],
      ['admin', 'deployment.rollback', 'shop'],
    ]);
  });
});
