import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ControlLab, SERVERS, startControlLab } from './control-lab.ts';

let lab: ControlLab;
beforeAll(async () => {
  lab = await startControlLab();
});
afterAll(() => lab.close());
beforeEach(async () => {
  await lab.until(await lab.deploy('b1'), 'succeeded');
});

const rootOf = (server: string) => join(lab.api.dataDirectory, 'servers', server);
const versions = () => Promise.all(SERVERS.map((server) => lab.versionOn(server)));
const head = async () =>
  (await lab.api.call('GET', '/app/shop/gitrepos/web')).body.head_commit as string;
/** Takes servers away while something is done. */
async function without<T>(servers: readonly string[], work: () => Promise<T>): Promise<T> {
  for (const server of servers) await rename(rootOf(server), `${rootOf(server)}.away`);
  try {
    return await work();
  } finally {
    for (const server of servers) await rename(`${rootOf(server)}.away`, rootOf(server));
  }
}
const steps = (deployment: { batches: { steps: object[] }[] }) =>
  deployment.batches.flatMap((batch) => batch.steps);

describe('before the first commit', () => {
  it('all servers are looked at, and nothing is touched if some cannot take the build', async () => {
    const before = await head();
    const failed = await without(['s2', 's3'], async () =>
      lab.until(await lab.deploy('b2'), 'failed'),
    );
    expect(failed).toMatchObject({ commits: {}, error: { code: 'preflight_failed' } });
    expect(failed.error.message).toContain('nothing was touched: 2 of 4 servers cannot take it');
    expect(failed.error.details.problems).toMatchObject([
      { server: 's2', gitdeploy: null, error: { code: 'server_unreachable' } },
      { server: 's3', gitdeploy: null, error: { code: 'server_unreachable' } },
    ]);
    expect(steps(failed)).toMatchObject([
      { server: 's0', status: 'skipped', error: null },
      { server: 's1', status: 'skipped', error: null },
      { server: 's2', status: 'failed', error: { code: 'server_unreachable' } },
      { server: 's3', status: 'failed', error: { code: 'server_unreachable' } },
    ]);
    expect(failed.batches).toMatchObject([{ status: 'skipped' }, { status: 'failed' }]);
    const url = `/app/shop/deployments/${failed.id}/explain`;
    const { sentences, actions } = (await lab.api.call('GET', url)).body;
    expect(sentences[0]).toBe('It has failed before anything was touched.');
    expect(actions.map(({ action }: { action: string }) => action)).toEqual(['retry']);
    expect(await versions()).toEqual(['b1', 'b1', 'b1', 'b1']);
    expect(await head()).toBe(before);
    // Once the servers are back, a retry looks once more and goes on.
    expect((await lab.act(failed.id, 'retry', '?wait=60')).body.status).toBe('succeeded');
    expect(await versions()).toEqual(['b2', 'b2', 'b2', 'b2']);
  });

  it('problems on no more servers than max_failures do not stop it', async () => {
    const failed = await without(['s3'], async () =>
      lab.until(await lab.deploy('b2', '&max_failures=1'), 'failed'),
    );
    expect(failed.error.code).toBe('deployment_failed');
    expect(await versions()).toEqual(['b2', 'b2', 'b2', 'b1']);
  });

  it('a clone that is gone, locked or read by nobody is told by what it is', async () => {
    const clone = join(rootOf('s0'), 'srv/web');
    const one = { servers: ['s0'], gitdeploys: ['Web'] };
    await rename(clone, `${clone}.away`);
    try {
      const gone = await lab.until(await lab.deploy('b2', '', one), 'failed');
      expect(steps(gone)).toMatchObject([{ status: 'failed', error: { code: 'clone_missing' } }]);
    } finally {
      await rename(`${clone}.away`, clone);
    }
    const lock = join(clone, '.git/muster.lock');
    await mkdir(lock);
    // This process lives, so whoever it stands for works there.
    const { pid } = process;
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    await writeFile(join(lock, 'owner'), `1 ${pid} ${start} deployment of somebody\n`);
    try {
      const locked = await lab.until(await lab.deploy('b2', '', one), 'failed');
      expect(steps(locked)).toMatchObject([{ status: 'failed', error: { code: 'path_busy' } }]);
      expect(locked.error.message).toContain('deployment of somebody');
    } finally {
      await rm(lock, { recursive: true });
    }
    expect(await lab.versionOn('s0')).toBe('b1');
  });
});

describe('with unreachable=skip', () => {
  it('servers that cannot be reached are left out, and the others get the build', async () => {
    const done = await without(['s1'], async () =>
      lab.until(await lab.deploy('b2', '&unreachable=skip'), 'succeeded'),
    );
    expect(steps(done)).toMatchObject([
      { server: 's0', status: 'succeeded' },
      { server: 's1', status: 'skipped', error: { code: 'server_unreachable' } },
      { server: 's2', status: 'succeeded' },
      { server: 's3', status: 'succeeded' },
    ]);
    expect(done.batches).toMatchObject([{ status: 'succeeded' }, { status: 'succeeded' }]);
    expect(await versions()).toEqual(['b2', 'b1', 'b2', 'b2']);
    const url = `/app/shop/deployments/${done.id}/explain`;
    const { sentences } = (await lab.api.call('GET', url)).body;
    expect(sentences).toEqual([expect.stringContaining('1 step was left out')]);
    const { db } = lab.api.services.database;
    const rows = await db.installation.findMany({ where: { missedBuildId: { not: null } } });
    expect(rows).toMatchObject([{ missedDeploymentId: done.id }]);
    // Whatever is deployed there next, it has missed nothing any more.
    await lab.until(await lab.deploy('b3'), 'succeeded');
    expect(await db.installation.count({ where: { missedBuildId: { not: null } } })).toBe(0);
  });

  it('it fails if no server can be reached', async () => {
    const failed = await without(SERVERS, async () =>
      lab.until(await lab.deploy('b2', '&unreachable=skip'), 'failed'),
    );
    expect(failed.error.code).toBe('preflight_failed');
    expect(await versions()).toEqual(['b1', 'b1', 'b1', 'b1']);
  });

  it('a server that goes away later is left out from then on', async () => {
    await lab.hold();
    const id = await lab.deploy('b2', '&unreachable=skip&rolling_divisor=4');
    await expect
      .poll(async () => (await lab.show(id)).batches[0].steps[0].status, { timeout: 60_000 })
      .toBe('running');
    const done = await without(['s2'], async () => {
      await lab.open();
      return lab.until(id, 'succeeded');
    });
    expect(steps(done).map((step) => ('status' in step ? step.status : ''))).toEqual([
      'succeeded',
      'succeeded',
      'skipped',
      'succeeded',
    ]);
    expect(await versions()).toEqual(['b2', 'b2', 'b1', 'b2']);
  });
});
