import { randomUUID } from 'node:crypto';
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHandlers } from '../../src/jobs/handlers.ts';
import { beginUpkeep } from '../../src/jobs/start-upkeep.ts';
import { startWorker, type Worker } from '../../src/jobs/worker.ts';
import { depotLeaseKey } from '../../src/store/depot-upkeep.ts';
import { acquireLeases, releaseLeases } from '../../src/store/leases.ts';
import { createTransport } from '../../src/transport/transport.ts';
import { startTestApi, type TestApi } from '../api/test-api.ts';
import { tarGz } from '../depot/archive-builders.ts';
import { git, noise } from '../depot/fixtures.ts';

let api: TestApi;
let worker: Worker;
let applicationId = '';
let applications = 0;
let A = '';

beforeAll(async () => {
  api = await startTestApi();
  const { config, database, depot, queue, log } = api.services;
  const handlers = createHandlers({ config, database, depot, transport: createTransport() });
  worker = startWorker({ database, queue, handlers, log, concurrency: 4 });
});
afterAll(async () => {
  await worker.close();
  await api.close();
});
beforeEach(async () => {
  applications += 1;
  const name = `shop${applications}`;
  A = `/app/${name}`;
  await api.call('PUT', `/app?app_name=${name}`);
  const { db } = api.services.database;
  applicationId = (await db.application.findUniqueOrThrow({ where: { name } })).id;
});

async function upload(name: string, size: number, seed: number): Promise<void> {
  await api.call('PUT', `${A}/builds?build_name=${name}`);
  const reply = await api.call('POST', `${A}/builds/${name}?file_type=tar.gz&wait=20`, {
    body: tarGz([{ name: `bin/${name}`, content: noise(size, seed) }]),
    headers: { 'content-type': 'application/octet-stream' },
  });
  expect([reply.status, reply.body.state]).toEqual([200, 'stored']);
}

const gitDir = (): string => join(api.dataDirectory, 'depot', `${applicationId}.git`);

/** Makes everything in the depot two hours older, and what was done to it a day. */
async function age(): Promise<void> {
  const then = new Date(Date.now() - 2 * 3600 * 1000);
  for (const name of await readdir(gitDir(), { recursive: true })) {
    await utimes(join(gitDir(), name), then, then);
  }
}

async function upkeepJobs() {
  return await api.services.database.db.job.findMany({
    where: { applicationId, kind: 'maintain_depot' },
  });
}

describe('the upkeep of a depot', () => {
  it('is started by itself after deletions, once, and keeps what rows need', async () => {
    await upload('gone', 80_000, 1);
    await upload('stays', 20_000, 2);
    expect((await api.call('DELETE', `${A}/builds/gone`)).status).toBe(200);
    await beginUpkeep(api.services);
    expect(await upkeepJobs()).toEqual([]);
    await age();
    await Promise.all([beginUpkeep(api.services), beginUpkeep(api.services)]);
    await waitUntil(async () => (await upkeepJobs()).every((job) => job.status === 'succeeded'));
    const [job, ...more] = await upkeepJobs();
    expect(more).toEqual([]);
    expect(job?.result).toMatchObject({
      packs_before: 2,
      packs_after: 1,
      restored_refs: 0,
      missing: [],
      pruned: true,
    });
    const { db } = api.services.database;
    const { tree } = await db.package.findFirstOrThrow({ where: { build: { applicationId } } });
    expect(await git(['ls-tree', '-r', '--name-only', tree], gitDir())).toBe('bin/stays');
    expect(await git(['fsck', '--full', '--strict', '--no-dangling'], gitDir())).toBe('');
    const download = await api.call('GET', `${A}/builds/stays/packages/master`);
    expect(download.status).toBe(200);
  });

  it('does not wait for other jobs of the application, however long they take', async () => {
    await upload('one', 1000, 1);
    const { db } = api.services.database;
    const other = await db.job.create({
      data: {
        kind: 'run_deployment',
        data: {},
        username: 'admin',
        applicationId,
        status: 'running',
        worker: 'another',
        leaseExpiresAt: new Date(Date.now() + 600_000),
      },
    });
    const job = await db.job.create({
      data: { kind: 'maintain_depot', data: { applicationId }, username: 'muster', applicationId },
    });
    await api.services.queue.ring(job.id);
    await waitUntil(
      async () => (await db.job.findUnique({ where: { id: job.id } }))?.status === 'succeeded',
    );
    await db.job.delete({ where: { id: other.id } });
  });

  it('keeps an upload waiting while it deletes, and no longer', async () => {
    const { database } = api.services;
    const key = depotLeaseKey(applicationId);
    const taken = await acquireLeases(database, [key], 'job:upkeep');
    if (!('leases' in taken)) throw new Error('the lease is taken');
    let isStored = false;
    const uploading = upload('one', 1000, 1).then(() => {
      isStored = true;
    });
    await sleep(1200);
    expect(isStored).toBe(false);
    await releaseLeases(database.db, 'job:upkeep', taken.leases);
    await uploading;
  });

  it('does not keep an application from being deleted, and is done when that has happened', async () => {
    await upload('one', 1000, 1);
    const { db } = api.services.database;
    const job = await db.job.create({
      data: {
        kind: 'maintain_depot',
        data: { applicationId },
        username: 'muster',
        applicationId,
        runAt: new Date(Date.now() + 3_600_000),
      },
    });
    expect((await api.call('DELETE', A)).status).toBe(200);
    await db.job.update({ where: { id: job.id }, data: { runAt: new Date() } });
    await api.services.queue.ring(job.id);
    await waitUntil(
      async () => (await db.job.findUnique({ where: { id: job.id } }))?.status === 'succeeded',
    );
  });

  it('removes uploads that a crash left behind a day ago, but none that a job is yet to take', async () => {
    const uploads = join(api.dataDirectory, 'uploads');
    await mkdir(uploads, { recursive: true });
    const names = ['abandoned', 'fetch-abandoned', 'awaited', 'young'];
    for (const name of names) await writeFile(join(uploads, name), '');
    const then = new Date(Date.now() - 25 * 3600 * 1000);
    for (const name of names.slice(0, 3)) await utimes(join(uploads, name), then, then);
    const { db } = api.services.database;
    const data = { buildId: randomUUID(), upload: 'awaited', packageMapId: null };
    const runAt = new Date(Date.now() + 3_600_000);
    const job = await db.job.create({
      data: { kind: 'store_build', data, username: 'admin', applicationId, runAt },
    });
    await beginUpkeep(api.services);
    expect((await readdir(uploads)).sort()).toEqual(['awaited', 'young']);
    await db.job.delete({ where: { id: job.id } });
  });

  it('drops what a crash has left of builds and gitrepos whose rows are gone', async () => {
    await upload('gone', 1000, 1);
    await upload('failed', 1000, 2);
    await upload('stays', 1000, 3);
    const { db } = api.services.database;
    const gitrepo = (await api.call('PUT', `${A}/gitrepos?name=repo&wait=60`)).body;
    expect(gitrepo.head_commit).toEqual(expect.any(String));
    const refs = async () =>
      (await git(['for-each-ref', '--format=%(refname)'], gitDir())).split('\n');
    expect(await refs()).toHaveLength(4);
    // As a process that dies between the commit and the removal leaves it.
    await api.services.depot.noteGarbage(applicationId);
    await db.build.deleteMany({ where: { applicationId, name: 'gone' } });
    await db.gitrepo.deleteMany({ where: { applicationId } });
    const { id } = await db.build.findFirstOrThrow({ where: { applicationId, name: 'failed' } });
    await db.package.deleteMany({ where: { buildId: id } });
    await db.build.update({ where: { id }, data: { state: 'failed' } });
    await age();
    await beginUpkeep(api.services);
    await waitUntil(async () => (await upkeepJobs()).some((job) => job.status === 'succeeded'));
    expect((await upkeepJobs())[0]?.result).toMatchObject({ dropped_refs: 3, missing: [] });
    expect(await refs()).toHaveLength(1);
    expect((await api.call('GET', `${A}/builds/stays/packages/master`)).status).toBe(200);
    // What they kept alive goes the next time.
    expect(await readdir(gitDir())).toContain('muster-garbage');
  });

  it('keeps what is of a build that is being stored', async () => {
    await upload('half', 1000, 1);
    const { db } = api.services.database;
    const { id } = await db.build.findFirstOrThrow({ where: { applicationId } });
    await db.package.deleteMany({ where: { buildId: id } });
    await db.build.update({ where: { id }, data: { state: 'storing' } });
    await api.services.depot.noteGarbage(applicationId);
    await age();
    await beginUpkeep(api.services);
    await waitUntil(async () => (await upkeepJobs()).some((job) => job.status === 'succeeded'));
    expect((await upkeepJobs())[0]?.result).toMatchObject({ dropped_refs: 0 });
  });

  it('does not mind what else lies in the folder', async () => {
    await writeFile(join(api.dataDirectory, 'depot', 'notes.git'), randomUUID());
    await expect(beginUpkeep(api.services)).resolves.toBeUndefined();
  });
});

async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('it did not come true in 60 s');
    await sleep(50);
  }
}
