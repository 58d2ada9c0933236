import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deleteOldHistory } from '../../src/jobs/retention.ts';
import { appendEvent, listJobEvents } from '../../src/store/events.ts';
import { insertJob } from '../../src/store/jobs.ts';
import { startTestApi, type TestApi } from './test-api.ts';

let api: TestApi;
let gitrepo: string;
beforeAll(async () => {
  api = await startTestApi();
  await api.call('PUT', '/app?app_name=shop');
  await api.call('PUT', '/app/shop/gitrepos?name=web');
  const row = await api.services.database.db.gitrepo.findFirst();
  gitrepo = row?.id ?? '';
});
afterAll(() => api.close());

const insert = async (kind = 'create_gitrepo', data: unknown = { gitrepoId: gitrepo }) => {
  const { db } = api.services.database;
  const app = await db.application.findFirst();
  return insertJob(db, { kind, data, username: 'admin', applicationId: app?.id ?? null });
};

describe('a job on the wire', () => {
  it('says what it works on by name, never by internal ids, and keeps secrets to itself', async () => {
    const { id } = await insert();
    expect((await api.call('GET', `/job/${id}`)).body).toMatchObject({
      job_id: id,
      kind: 'create_gitrepo',
      status: 'queued',
      data: { application: 'shop', gitrepo: 'web' },
      cancel_requested_at: null,
      completed_datetime: null,
    });
    const buildId = '01a1fd52-2d04-74b1-bc48-c083174cf85f';
    const upload = await insert('store_build', { buildId, upload: 'spool-1', packageMapId: null });
    const fetch = await insert('fetch_build', {
      buildId,
      sealedUrl: 'c2VjcmV0',
      source: 'https://ci/b',
    });
    const { body } = await api.call('GET', '/job?details=true&limit=2');
    expect(body.jobs.map((j: { data: unknown }) => j.data)).toEqual([
      { application: 'shop', build_name: null, indirect_url: 'https://ci/b' },
      { application: 'shop', build_name: null, package_map: null },
    ]);
    expect(JSON.stringify(body)).not.toMatch(/spool-1|c2VjcmV0|buildId/);
    expect(body.next).toBe(upload.id);
    expect(body.jobs[0].job_id).toBe(fetch.id);
  });
});

describe('cancelling a job', () => {
  it('is asked for once, and shown', async () => {
    const { id } = await insert();
    const asked = await api.call('POST', `/job/${id}/cancel`);
    expect(asked).toMatchObject({
      status: 202,
      headers: { location: `/job/${id}` },
      body: { job_id: id, cancel_requested_at: expect.any(String) },
    });
    expect((await api.call('POST', `/job/${id}/cancel`)).body).toEqual(asked.body);
    const rows = await api.services.database.db.auditEvent.findMany({ where: { subject: id } });
    expect(rows).toMatchObject([{ username: 'admin', action: 'job.cancel', application: 'shop' }]);
  });

  it('says what is wrong with what it cannot cancel', async () => {
    const { id } = await insert();
    await api.services.database.db.job.update({ where: { id }, data: { status: 'failed' } });
    expect(await api.call('POST', `/job/${id}/cancel`)).toMatchObject({
      status: 409,
      body: { error: { code: 'conflict', details: { status: 'failed' } } },
    });
    expect((await api.call('POST', '/job/nonsense/cancel')).status).toBe(404);
    expect((await api.call('POST', `/job/${id}/cancel?force=1`)).status).toBe(400);
    const unknown = '01a1fd52-2d04-74b1-bc48-c083174cf85f';
    expect((await api.call('POST', `/job/${unknown}/cancel`)).status).toBe(404);
  });
});

describe('old history', () => {
  it('goes with its time, except for what is still under way and what deployments have come to', async () => {
    const { database } = api.services;
    const { db } = database;
    const old = await insert();
    const young = await insert();
    const active = await insert();
    const deploymentId = '01a1fd52-2d04-74b1-bc48-c083174cf85f';
    const tell = (jobId: string, kind: string, ofDeployment: boolean) =>
      appendEvent(db, {
        jobId,
        deploymentId: ofDeployment ? deploymentId : null,
        kind,
        data: null,
      });
    for (const { id } of [old, young, active]) await tell(id, 'progress', false);
    await tell(old.id, 'output', true);
    await tell(old.id, 'step', true);
    const longAgo = new Date(Date.now() - 100 * 86_400_000);
    const over = { status: 'succeeded' as const };
    await db.job.update({ where: { id: old.id }, data: { ...over, finishedAt: longAgo } });
    await db.job.update({ where: { id: young.id }, data: { ...over, finishedAt: new Date() } });
    await db.$executeRaw`update events set created_at = ${longAgo}`;
    const signal = new AbortController().signal;
    expect(await deleteOldHistory(database, { days: 90, signal })).toEqual({ jobs: 1, outputs: 1 });
    expect((await api.call('GET', `/job/${old.id}`)).status).toBe(404);
    expect((await api.call('GET', `/job/${young.id}?results=true`)).body.results).toHaveLength(1);
    expect(await listJobEvents(db, active.id)).toHaveLength(1);
    const kept = await db.event.findMany({ where: { deploymentId } });
    expect(kept.map((e) => e.kind)).toEqual(['step']);
  });
});
