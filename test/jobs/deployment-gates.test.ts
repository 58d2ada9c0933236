import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ControlLab, SERVERS, startControlLab } from './control-lab.ts';

const WAIT = { timeout: 60_000 };
let lab: ControlLab;
beforeAll(async () => {
  lab = await startControlLab();
});
afterAll(() => lab.close());

/** Every test begins with b1 on all servers, and no freeze. */
beforeEach(async () => {
  await lab.open();
  await lab.api.call('DELETE', '/server/environments/production/freezewindows/now');
  if ((await versions()).every((version) => version === 'b1')) return;
  await lab.until(await lab.deploy('b1'), 'succeeded');
});

const versions = () => Promise.all(SERVERS.map((server) => lab.versionOn(server)));
const waitingFor = (id: string, expected: object) =>
  expect.poll(async () => (await lab.show(id)).waiting_for, WAIT).toMatchObject(expected);
const explain = async (id: string) =>
  (await lab.api.call('GET', `/app/shop/deployments/${id}/explain`)).body;
const freeze = async () => {
  const begun = new Date(Date.now() - 60_000).toISOString();
  const body = { schedule: begun, duration: 3600, reason: 'month end' };
  const put = '/server/environments/production/freezewindows?name=now';
  expect(await lab.api.call('PUT', put, { body })).toMatchObject({ status: 201 });
};
const audited = async (action: string) =>
  (await lab.api.call('GET', `/audit?action=${action}&limit=1`)).body.events[0];

describe('a canary', () => {
  it('goes first, and the rest waits for its pause', async () => {
    const id = await lab.deploy('b2', '&canary=1&canary_pause=3600&rolling_divisor=1');
    await waitingFor(id, { kind: 'pause', after_batch: 0 });
    expect(await versions()).toEqual(['b2', 'b1', 'b1', 'b1']);
    const { batches, options } = await lab.show(id);
    expect(options).toMatchObject({ canary: '1', canary_pause: 3600 });
    expect(batches.map((b: { canary: boolean }) => b.canary)).toEqual([true, false]);
    expect((await lab.act(id, 'rollback', '?wait=60')).status).toBe(409);
    expect((await lab.act(id, 'cancel', '?wait=60')).body.status).toBe('cancelled');
    expect(await versions()).toEqual(['b2', 'b1', 'b1', 'b1']);
  });

  it('that fails keeps the build from all others', async () => {
    await lab.fail('s0', true);
    try {
      const id = await lab.deploy('b2', '&canary=25%25');
      const { batches } = await lab.until(id, 'failed');
      expect(batches.map((b: { status: string }) => b.status)).toEqual([
        'failed',
        'skipped',
        'skipped',
      ]);
      expect(await versions()).toEqual(['b1', 'b1', 'b1', 'b1']);
    } finally {
      await lab.fail('s0', false);
    }
  });

  it('is a number of servers or a share of them', async () => {
    const body = { environments: ['production'], groups: ['all'] };
    for (const canary of ['0', '101%', 'two', '-1']) {
      const url = `/app/shop/deployments?build_name=b2&canary=${encodeURIComponent(canary)}`;
      const answer = await lab.api.call('POST', url, { body });
      expect(answer).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
      expect(answer.body.error.message).toContain('`canary` must be a number of servers');
    }
  });
});

describe('options of a canary', () => {
  const ask = (options: string) =>
    lab.api.call('POST', `/app/shop/deployments?build_name=b2&dry_run=true${options}`, {
      body: { environments: ['production'], groups: ['all'] },
    });

  it('are refused without one, and warned of where it would be of all servers', async () => {
    for (const options of ['&approve=after_canary', '&canary_pause=60']) {
      const refused = await ask(options);
      expect(refused).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
      expect(refused.body.error.message).toContain('needs a `canary`');
    }
    const { warnings } = (await ask('&approve=after_canary&canary=4')).body;
    expect(warnings).toMatchObject([{ code: 'canary_of_all' }]);
    expect(warnings[0].message).toContain('nobody is asked for an approval');
  });
});

describe('an approval', () => {
  it('is waited for after every slice but the last, and says who gave it', async () => {
    const id = await lab.deploy('b2', '&approve=each_slice');
    await waitingFor(id, { kind: 'approval', after_batch: 0 });
    expect(await versions()).toEqual(['b2', 'b2', 'b1', 'b1']);
    const explained = await explain(id);
    expect(explained.sentences.join(' ')).toContain(
      'waits for a user to approve what comes after batch 0',
    );
    expect(explained.actions[0]).toEqual({ action: 'approve', users: ['admin'] });

    const approved = await lab.act(id, 'approve', '?reason=looks+good');
    expect(approved).toMatchObject({
      status: 202,
      body: {
        batches: [{ approval_after: true, approved_by: 'admin' }, { approval_after: false }],
      },
    });
    expect(await lab.until(id, 'succeeded')).toMatchObject({ waiting_for: null });
    expect(await versions()).toEqual(['b2', 'b2', 'b2', 'b2']);
    expect(await audited('deployment.approve')).toMatchObject({
      subject: id,
      after: { after_batch: 0, reason: 'looks good' },
    });
    const again = await lab.act(id, 'approve');
    expect(again).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } });
  });

  it('cannot be given before it is waited for', async () => {
    await lab.hold();
    const id = await lab.deploy('b2', '&approve=each_slice');
    await expect.poll(async () => (await lab.show(id)).status, WAIT).toBe('running');
    const early = await lab.act(id, 'approve');
    expect(early.status).toBe(409);
    expect(early.body.error.message).toContain('It will after batch 0; approve it then.');
    await lab.open();
    await waitingFor(id, { kind: 'approval' });
    expect((await lab.act(id, 'cancel', '?wait=60')).body.status).toBe('cancelled');
    expect(await versions()).toEqual(['b2', 'b2', 'b1', 'b1']);
  });

  it('after the canary alone lets the rest roll', async () => {
    const id = await lab.deploy('b2', '&approve=after_canary&canary=1');
    await waitingFor(id, { kind: 'approval', after_batch: 0 });
    // Who waits gets the deployment as it has ended.
    expect(await lab.act(id, 'approve', '?wait=60')).toMatchObject({
      status: 200,
      body: { status: 'succeeded', waiting_for: null, job: { status: 'succeeded' } },
    });
    const over = await lab.act(id, 'override_freeze', '?reason=late');
    expect(over).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } });
    expect(over.body.error.message).toContain('deploy again with `override_freeze=true`');
  });

  it('that is waited for survives the worker', async () => {
    const id = await lab.deploy('b2', '&approve=each_slice');
    await waitingFor(id, { kind: 'approval', after_batch: 0 });
    await lab.stopWorker();
    expect((await lab.act(id, 'approve')).status).toBe(202);
    lab.startWorker();
    await lab.until(id, 'succeeded');
  });
});

describe('a freeze', () => {
  it('holds a deployment back before anything is touched, until it is overridden with a reason', async () => {
    await freeze();
    const id = await lab.deploy('b2');
    await waitingFor(id, { kind: 'freeze', environment: 'production', reason: 'month end' });
    expect(await lab.show(id)).toMatchObject({ status: 'queued', commits: {} });
    const target = { environments: ['production'], groups: ['all'] };
    const url = '/app/shop/deployments?build_name=b3&dry_run=true';
    const { warnings } = (await lab.api.call('POST', url, { body: target })).body;
    expect(warnings).toMatchObject([{ code: 'frozen', subject: 'production' }]);
    const { sentences, actions } = await explain(id);
    expect(sentences.join(' ')).toContain('environment `production` is frozen by `now` until');
    expect(actions[0]).toEqual({ action: 'override_freeze', users: ['admin'] });

    const silent = await lab.act(id, 'override_freeze');
    expect(silent).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
    expect((await lab.act(id, 'override_freeze', '?reason=security+fix')).status).toBe(202);
    await lab.until(id, 'succeeded');
    expect(await audited('deployment.override_freeze')).toMatchObject({
      subject: id,
      after: { reason: 'security fix' },
    });
  });

  it('stops a deployment between two batches, but never a rollback', async () => {
    const id = await lab.deploy('b2', '&approve=each_slice');
    await waitingFor(id, { kind: 'approval' });
    await freeze();
    await lab.act(id, 'approve');
    await waitingFor(id, { kind: 'freeze', freeze_window: 'now' });
    expect(await versions()).toEqual(['b2', 'b2', 'b1', 'b1']);
    expect((await lab.act(id, 'pause', '?wait=60')).body.status).toBe('paused');
    expect((await lab.act(id, 'rollback', '?wait=60')).body.status).toBe('rolled_back');
    expect(await versions()).toEqual(['b1', 'b1', 'b1', 'b1']);
  });

  it('does not hold who overrides it from the start, which needs a reason', async () => {
    await freeze();
    const target = { environments: ['production'], groups: ['all'] };
    const url = '/app/shop/deployments?build_name=b2&override_freeze=true';
    const silent = await lab.api.call('POST', url, { body: target });
    expect(silent).toMatchObject({ status: 400 });
    expect(silent.body.error.message).toContain('needs a `reason`');
    await lab.until(await lab.deploy('b2', '&override_freeze=true&reason=hotfix'), 'succeeded');
  });

  it('that is deleted lets what it held go on', async () => {
    await freeze();
    const id = await lab.deploy('b2');
    await waitingFor(id, { kind: 'freeze' });
    await lab.api.call('DELETE', '/server/environments/production/freezewindows/now');
    await expect.poll(async () => (await lab.show(id)).status, WAIT).toBe('succeeded');
  });

  it('is listed, shown and refused like every other resource', async () => {
    await freeze();
    const url = '/server/environments/production/freezewindows';
    expect((await lab.api.call('GET', url)).body).toEqual({
      environment: 'production',
      freezewindows: ['now'],
    });
    expect((await lab.api.call('GET', `${url}/now`)).body).toMatchObject({
      name: 'now',
      timezone: 'UTC',
      frozen_until: expect.any(String),
    });
    const body = { schedule: 'whenever', duration: 60 };
    expect(await lab.api.call('PUT', `${url}?name=now`, { body })).toMatchObject({ status: 400 });
    const fine = { schedule: '0 0 * * 6', duration: 60 };
    expect(await lab.api.call('PUT', `${url}?name=now`, { body: fine })).toMatchObject({
      status: 409,
    });
    expect(await lab.api.call('GET', `${url}/nov`)).toMatchObject({ status: 404 });
  });
});

describe('an explanation', () => {
  it('says who holds what a deployment waits for, and why that one waits', async () => {
    const first = await lab.deploy('b2', '&approve=each_slice');
    await waitingFor(first, { kind: 'approval' });
    const second = await lab.deploy('b3');
    await waitingFor(second, { kind: 'deployment', deployment_id: first });
    const explained = await explain(second);
    expect(explained.sentences.join(' ')).toMatch(
      new RegExp(`waits for deployment ${first} .* That one waits for a user to approve`),
    );
    expect(explained.held_pairs).toEqual(SERVERS.map((server) => ({ server, gitdeploy: 'Web' })));
    await lab.act(first, 'approve');
    await lab.until(second, 'succeeded');
  });

  it('says what failed', async () => {
    await lab.fail('s1', true);
    try {
      const id = await lab.deploy('b2');
      await lab.until(id, 'failed');
      const { sentences, actions } = await explain(id);
      expect(sentences.join(' ')).toMatch(/`Web` on `s1` failed: The postpull state `note` failed/);
      expect(sentences.join(' ')).toContain('2 steps never ran because of that.');
      expect(actions.map((a: { action: string }) => a.action)).toEqual(['retry', 'rollback']);
    } finally {
      await lab.fail('s1', false);
    }
  });
});

describe('a deployment on servers that another one works on', () => {
  it('is not begun with on_conflict=reject, and nothing is left of it', async () => {
    const first = await lab.deploy('b2', '&approve=each_slice');
    await waitingFor(first, { kind: 'approval' });
    const url = '/app/shop/deployments?build_name=b3&on_conflict=reject';
    const body = { servers: ['s3'], gitdeploys: ['Web'] };
    const before = (await lab.api.call('GET', '/app/shop/deployments')).body.deployments;
    const refused = await lab.api.call('POST', url, { body });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } });
    expect(refused.body.error.details.deployments).toEqual([
      { id: first, status: expect.any(String), build: 'b2' },
    ]);
    expect((await lab.api.call('GET', '/app/shop/deployments')).body.deployments).toEqual(before);
    await lab.act(first, 'approve');
    await lab.until(first, 'succeeded');
    expect((await lab.api.call('POST', `${url}&wait=60`, { body })).body.status).toBe('succeeded');
  });

  it('takes over at the next safe point with on_conflict=supersede', async () => {
    await lab.hold();
    const first = await lab.deploy('b2');
    await expect.poll(async () => (await lab.show(first)).status, WAIT).toBe('running');
    const second = await lab.deploy('b3', '&on_conflict=supersede');
    expect(await lab.show(first)).toMatchObject({ superseded_by: second, status: 'running' });
    await lab.open();
    await lab.until(second, 'succeeded');
    // What ran came to its end; what had not begun never did.
    const ended = await lab.show(first);
    expect(ended).toMatchObject({ status: 'cancelled', error: { code: 'superseded' } });
    expect(ended.batches.map((b: { status: string }) => b.status)).toEqual([
      'succeeded',
      'cancelled',
    ]);
    expect(await versions()).toEqual(['b3', 'b3', 'b3', 'b3']);
    const { batches } = await lab.show(second);
    const [first_step, ,] = batches[0].steps;
    expect(first_step.from_commit).toBe(
      Object.values<{ commit: string }>(ended.commits)[0]?.commit,
    );
    expect((await explain(first)).sentences[0]).toContain(`Deployment ${second} has taken over`);
    expect(await audited('deployment.supersede')).toMatchObject({ subject: first });
  });

  it('takes over at once from one that only waits', async () => {
    const first = await lab.deploy('b2', '&approve=each_slice');
    await waitingFor(first, { kind: 'approval' });
    const queued = await lab.deploy('b2');
    const second = await lab.deploy('b3', '&on_conflict=supersede');
    await lab.until(second, 'succeeded');
    for (const id of [first, queued]) {
      expect(await lab.show(id)).toMatchObject({ status: 'cancelled', superseded_by: second });
    }
    expect(await versions()).toEqual(['b3', 'b3', 'b3', 'b3']);
  });
});

describe('a plan', () => {
  const dryRun = async (build: string, options = '') => {
    const url = `/app/shop/deployments?build_name=${build}&dry_run=true${options}`;
    const body = { environments: ['production'], groups: ['all'] };
    return lab.api.call('POST', url, { body });
  };

  it('says what each server has, and what would change there', async () => {
    const one = { servers: ['s0'], gitdeploys: ['Web'] };
    await lab.until(await lab.deploy('b2', '', one), 'succeeded');
    const { servers, plan_hash } = (await dryRun('b2')).body;
    expect(plan_hash).toMatch(/^v1-/);
    expect(servers.Web).toMatchObject([
      { from_build: 'b2', servers: ['s0'], up_to_date: true, changes: { modified: 0 } },
      {
        from_build: 'b1',
        servers: ['s1', 's2', 's3'],
        up_to_date: false,
        changes: { added: 1, modified: 1, deleted: 1 },
      },
    ]);
  });

  it('is deployed by its hash only as long as nothing has changed', async () => {
    const { plan_hash } = (await dryRun('b2')).body;
    expect((await dryRun('b2')).body.plan_hash).toBe(plan_hash);
    const one = { servers: ['s0'], gitdeploys: ['Web'] };
    await lab.until(await lab.deploy('b3', '', one), 'succeeded');
    const url = `/app/shop/deployments?build_name=b2&plan_hash=${plan_hash}`;
    const body = { environments: ['production'], groups: ['all'] };
    const refused = await lab.api.call('POST', url, { body });
    expect(refused).toMatchObject({
      status: 409,
      body: { error: { code: 'plan_changed', details: { changed: ['commits', 'servers'] } } },
    });
    expect(refused.body.error.message).toContain('the head of a gitrepo, what a server has');
    const { plan_hash: now } = (await dryRun('b2', '&rolling_divisor=3')).body;
    const other = await lab.api.call('POST', url.replace(plan_hash, now), { body });
    expect(other.body.error.details.changed).toEqual(['options', 'batches']);
    const fresh = (await dryRun('b2')).body.plan_hash;
    const deployed = await lab.api.call('POST', `${url.replace(plan_hash, fresh)}&wait=60`, {
      body,
    });
    expect(deployed.body).toMatchObject({ status: 'succeeded', plan_hash: fresh });
    const senseless = await lab.api.call('POST', url.replace(plan_hash, 'abc'), { body });
    expect(senseless).toMatchObject({ status: 400 });
  });
});
