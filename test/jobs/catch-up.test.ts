import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addPerson } from '../api/people.ts';
import { type ControlLab, SERVERS, startControlLab } from './control-lab.ts';

const CATCH_UP = '/app/shop/catchup';

let lab: ControlLab;
beforeAll(async () => {
  lab = await startControlLab();
});
afterAll(() => lab.close());
/** Every test begins with b1 on all servers, which then have missed nothing. */
beforeEach(async () => {
  await lab.api.call('PATCH', '/app/shop', { body: { auto_catchup: false } });
  for (const server of SERVERS) await lab.fail(server, false);
  await lab.until(await lab.deploy('b1'), 'succeeded');
});

const call: ControlLab['api']['call'] = (...args) => lab.api.call(...args);
const rootOf = (server: string) => join(lab.api.dataDirectory, 'servers', server);
/** Takes a server away while something is done. */
async function without<T>(server: string, work: () => Promise<T>): Promise<T> {
  await rename(rootOf(server), `${rootOf(server)}.away`);
  try {
    return await work();
  } finally {
    await rename(`${rootOf(server)}.away`, rootOf(server));
  }
}
/** Deploys a build to all servers but one, which is left out. */
const skip = (server: string, build: string, options = '') =>
  without(server, async () =>
    lab.until(await lab.deploy(build, `&unreachable=skip${options}`), 'succeeded'),
  );
const versions = async () =>
  Object.fromEntries(await Promise.all(SERVERS.map(async (s) => [s, await lab.versionOn(s)])));
const all = (build: string) => Object.fromEntries(SERVERS.map((server) => [server, build]));
const branch = async () => (await call('GET', '/app/shop/gitrepos/web')).body;
const deployments = async (): Promise<string[]> =>
  (await call('GET', '/app/shop/deployments')).body.deployments;
const behind = async (): Promise<Record<string, string | null>> => {
  const { body } = await call('GET', '/app/shop/census?details=true');
  const servers: Record<string, { Web: { behind: string | null } }> = body.production.all;
  return Object.fromEntries(Object.entries(servers).map(([name, leaf]) => [name, leaf.Web.behind]));
};
const NOBODY_BEHIND = { s0: null, s1: null, s2: null, s3: null };

describe('a server that was left out', () => {
  it('is behind in the census, and catches up with the commit that the others got', async () => {
    const missed = await skip('s3', 'b2');
    expect(await versions()).toEqual({ ...all('b2'), s3: 'b1' });
    expect(await behind()).toEqual({ ...NOBODY_BEHIND, s3: 'b2' });
    const { head_commit: head } = await branch();

    const started = await call('POST', `${CATCH_UP}?wait=60`);
    expect(started).toMatchObject({
      status: 200,
      body: {
        application: 'shop',
        deployments: [
          { build: 'b2', servers: ['s3'], job: { kind: 'run_deployment', status: 'succeeded' } },
        ],
      },
    });
    expect(await versions()).toEqual(all('b2'));
    expect(await behind()).toEqual(NOBODY_BEHIND);
    const [{ id }] = started.body.deployments;
    expect(await lab.show(id)).toMatchObject({
      username: 'admin',
      target: { style: 'manual', servers: ['s3'], gitdeploys: ['Web'] },
      commits: { web: { commit: missed.commits.web.commit, changed_files: { files: [] } } },
    });
    expect((await branch()).head_commit).toBe(head);
  });

  it('gets what was meant for it, though the branch has gone on for others', async () => {
    await skip('s3', 'b2');
    const one = { servers: ['s0'], gitdeploys: ['Web'] };
    await lab.until(await lab.deploy('b3', '', one), 'succeeded');
    const before = await branch();
    expect(before.committed_build).toBe('b3');
    expect((await call('POST', `${CATCH_UP}?wait=60`)).status).toBe(200);
    expect(await versions()).toEqual({ s0: 'b3', s1: 'b2', s2: 'b2', s3: 'b2' });
    expect(await branch()).toEqual(before);
    // What comes next goes on from there.
    await lab.until(await lab.deploy('b3'), 'succeeded');
    expect(await versions()).toEqual(all('b3'));
  });

  it('catches up with the last of several builds that it has missed', async () => {
    await skip('s3', 'b2');
    await skip('s3', 'b3');
    expect(await behind()).toEqual({ ...NOBODY_BEHIND, s3: 'b3' });
    const { body } = await call('POST', `${CATCH_UP}?wait=60`);
    expect(body.deployments).toMatchObject([{ build: 'b3', servers: ['s3'] }]);
    expect(await versions()).toEqual(all('b3'));
  });

  it('stays behind if it cannot be reached again, or if what it gets has to be taken back', async () => {
    await skip('s3', 'b2');
    const again = await without('s3', () => call('POST', `${CATCH_UP}?wait=60`));
    expect(again).toMatchObject({ status: 409, body: { error: { code: 'deployment_failed' } } });
    expect(await behind()).toMatchObject({ s3: 'b2' });
    await lab.fail('s3', true);
    expect((await call('POST', `${CATCH_UP}?wait=60`)).status).toBe(409);
    expect(await lab.versionOn('s3')).toBe('b1');
    expect(await behind()).toMatchObject({ s3: 'b2' });
    await lab.fail('s3', false);
    expect((await call('POST', `${CATCH_UP}?wait=60`)).status).toBe(200);
    expect(await versions()).toEqual(all('b2'));
  });

  it('is not behind of what was taken back, nor is what it missed forgotten for what failed', async () => {
    const missed = await skip('s3', 'b2');
    await lab.fail('s1', true);
    const failed = await without('s3', async () =>
      lab.until(await lab.deploy('b3', '&unreachable=skip'), 'failed'),
    );
    expect(failed.error.code).toBe('deployment_failed');
    expect(await behind()).toEqual({ ...NOBODY_BEHIND, s3: 'b2' });
    await lab.fail('s1', false);
    expect((await lab.act(failed.id, 'rollback', '?wait=60')).body.status).toBe('rolled_back');
    expect((await lab.act(missed.id, 'rollback', '?wait=60')).body.status).toBe('rolled_back');
    expect(await versions()).toEqual(all('b1'));
    expect(await behind()).toEqual(NOBODY_BEHIND);
    expect((await call('POST', CATCH_UP)).body.deployments).toEqual([]);
  });

  it('can be put back to what it had, while the branch stays where it is', async () => {
    await skip('s3', 'b2');
    const { body } = await call('POST', `${CATCH_UP}?wait=60`);
    const back = await lab.act(body.deployments[0].id, 'rollback', '?wait=60');
    expect(back.body.status).toBe('rolled_back');
    expect(await versions()).toEqual({ ...all('b2'), s3: 'b1' });
    expect((await branch()).committed_build).toBe('b2');
  });
});

describe('catching up', () => {
  it('starts nothing where nobody is behind, nor what is under way already', async () => {
    const nothing = { application: 'shop', deployments: [] };
    expect(await call('POST', CATCH_UP)).toMatchObject({ status: 200, body: nothing });
    await skip('s3', 'b2');
    await lab.hold();
    const first = await call('POST', CATCH_UP);
    expect(first).toMatchObject({ status: 202, body: { deployments: [{ servers: ['s3'] }] } });
    expect(first.headers['location']).toBe(`/job/${first.body.deployments[0].job.job_id}`);
    expect(await call('POST', CATCH_UP)).toMatchObject({ status: 200, body: nothing });
    await lab.open();
    await lab.until(first.body.deployments[0].id, 'succeeded');
    expect(await versions()).toEqual(all('b2'));
  });

  it('needs the permission for all servers concerned, and is for one if so asked', async () => {
    await skip('s3', 'b2');
    const known = await deployments();
    const apps = { shop: 'read/write' };
    const some = await addPerson(lab.api, 'some', { apps, servers: ['s0'] });
    for (const [url, servers] of [
      [CATCH_UP, ['s3']],
      [`${CATCH_UP}?server=s3`, ['s3']],
      [`${CATCH_UP}?server=s9`, ['s9']],
    ] as const) {
      const refused = await some.call('POST', url);
      expect(refused).toMatchObject({
        status: 403,
        body: { error: { code: 'forbidden', details: { servers } } },
      });
    }
    expect(await some.call('POST', `${CATCH_UP}?server=s0`)).toMatchObject({
      status: 200,
      body: { deployments: [] },
    });
    const unknown = await call('POST', `${CATCH_UP}?server=s9`);
    expect(unknown).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
    expect(await deployments()).toEqual(known);
    const one = await call('POST', `${CATCH_UP}?server=s3&wait=60`);
    expect(one.body.deployments).toMatchObject([{ build: 'b2', servers: ['s3'] }]);
    expect(await versions()).toEqual(all('b2'));
  });
});

describe('with auto_catchup', () => {
  const check = async (server: string) => {
    const reply = await call('POST', `/server/${server}?check=true&wait=60`);
    expect(reply.status, reply.text).toBe(200);
  };
  /** Those that Muster has started by itself since, newest first. */
  const own = async (known: readonly string[]) => {
    const added = (await deployments()).filter((id) => !known.includes(id));
    return Promise.all(added.map((id) => lab.show(id)));
  };

  it('a server catches up as soon as it is reached again, once, and the audit says so', async () => {
    const changed = await call('PATCH', '/app/shop', { body: { auto_catchup: true } });
    expect(changed).toMatchObject({ status: 200, body: { auto_catchup: true } });
    expect((await call('GET', '/app/shop')).body.auto_catchup).toBe(true);
    await skip('s3', 'b2');
    const known = await deployments();
    await lab.hold();
    await check('s3');
    await check('s3');
    await check('s0');
    const [only, ...others] = await own(known);
    expect(others).toEqual([]);
    expect(only).toMatchObject({ username: 'muster', build: 'b2', target: { servers: ['s3'] } });
    await lab.open();
    await lab.until(only.id, 'succeeded');
    expect(await versions()).toEqual(all('b2'));
    const { events } = (await call('GET', '/audit?user=muster')).body;
    expect(events).toMatchObject([
      {
        action: 'deployment.create',
        application: 'shop',
        subject: only.id,
        remote_address: null,
        after: { build: 'b2' },
      },
    ]);
  });

  it('what has failed on a server is not tried again until somebody asks for it', async () => {
    await skip('s3', 'b2');
    await lab.fail('s3', true);
    await call('PATCH', '/app/shop', { body: { auto_catchup: true } });
    const known = await deployments();
    await check('s3');
    const [first] = await own(known);
    await lab.until(first.id, 'failed');
    await check('s3');
    expect(await own(known)).toHaveLength(1);
    expect(await behind()).toMatchObject({ s3: 'b2' });
    await lab.fail('s3', false);
    expect((await call('POST', `${CATCH_UP}?wait=60`)).status).toBe(200);
    expect(await versions()).toEqual(all('b2'));
  });

  it('nothing happens by itself unless it is wanted', async () => {
    await skip('s3', 'b2');
    const known = await deployments();
    await check('s3');
    expect(await own(known)).toEqual([]);
  });
});

describe('a dry run with a preflight', () => {
  const url = '/app/shop/deployments?build_name=b2';
  const body = { environments: ['production'], groups: ['all'] };

  it('tells what stands in the way, and makes no deployment', async () => {
    const known = await deployments();
    const fine = await call('POST', `${url}&dry_run=true&preflight=true`, { body });
    expect(fine).toMatchObject({
      status: 200,
      body: { dry_run: true, preflight: { servers: 4, problems: [] } },
    });
    const bad = await without('s1', () =>
      call('POST', `${url}&dry_run=true&preflight=true`, { body }),
    );
    expect(bad.body.batches).toEqual(fine.body.batches);
    expect(bad.body.preflight).toEqual({
      servers: 4,
      problems: [
        {
          server: 's1',
          gitdeploy: null,
          error: {
            code: 'server_unreachable',
            message: expect.stringContaining('s1'),
            details: expect.any(Object),
          },
        },
      ],
    });
    expect(await deployments()).toEqual(known);
    expect(await versions()).toEqual(all('b1'));
    expect((await call('POST', `${url}&dry_run=true`, { body })).body.preflight).toBeUndefined();
  });

  it('names the job that looks if the time is up before', async () => {
    await lab.stopWorker();
    const asked = await call('POST', `${url}&dry_run=true&preflight=true&wait=0`, { body });
    expect(asked).toMatchObject({ status: 200, body: { preflight: { status: 'queued' } } });
    lab.startWorker();
    const job = `/job/${asked.body.preflight.job_id}`;
    await expect.poll(async () => (await call('GET', job)).body.status).toBe('succeeded');
    expect((await call('GET', job)).body).toMatchObject({
      kind: 'preflight',
      data: { application: 'shop', build_name: 'b2' },
      result: { servers: 4, problems: [] },
    });
  });

  it('is for dry runs alone, as a deployment looks in any case', async () => {
    const refused = await call('POST', `${url}&preflight=true`, { body });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
    expect(refused.body.error.message).toContain('a deployment looks at all servers first');
  });
});
