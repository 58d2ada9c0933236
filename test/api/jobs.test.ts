import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deleteOldHistory } from '../../src/jobs/retention.ts';
import { readJobResults } from '../../src/services/jobs.ts';
import { appendEvent, appendEvents, listJobEvents } from '../../src/store/events.ts';
import { insertJob } from '../../src/store/jobs.ts';
import { addPerson, type Person } from './people.ts';
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

const insert = async (
  kind = 'create_gitrepo',
  data: unknown = { gitrepoId: gitrepo },
  of: { username?: string; userId?: string | null; applicationId?: string | null } = {},
) => {
  const { db } = api.services.database;
  const app = await db.application.findFirst();
  return insertJob(db, {
    kind,
    data,
    username: 'admin',
    applicationId: app?.id ?? null,
    ...of,
  });
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

describe('what a job has told', () => {
  const COUNT = 450;
  let id: string;
  beforeAll(async () => {
    ({ id } = await insert());
    const event = (number: number) => ({
      jobId: id,
      deploymentId: null,
      kind: 'output',
      data: { number },
    });
    const { db } = api.services.database;
    await appendEvents(
      db,
      Array.from({ length: COUNT }, (_, number) => event(number)),
    );
  });
  const numbers = (results: readonly { data: { number: number } }[]) =>
    results.map(({ data }) => data.number);
  const counted = (from: number) => Array.from({ length: COUNT - from }, (_, i) => from + i);

  it('comes whole and in order, or after what is known already', async () => {
    const { status, headers, body } = await api.call('GET', `/job/${id}?results=true`);
    expect([status, headers['content-type']]).toEqual([200, 'application/json; charset=utf-8']);
    expect(body).toMatchObject({ job_id: id, status: 'queued', data: { application: 'shop' } });
    expect(numbers(body.results)).toEqual(counted(0));
    expect(body.results[0]).toEqual({
      id: expect.stringMatching(/^\d+$/),
      created_datetime: expect.stringMatching(/Z$/),
      kind: 'output',
      data: { number: 0 },
    });
    const known = body.results[299].id;
    const rest = await api.call('GET', `/job/${id}?results=true&after=${known}`);
    expect(numbers(rest.body.results)).toEqual(counted(300));
    const none = await api.call('GET', `/job/${id}?results=true&after=${body.results.at(-1).id}`);
    expect(none.body.results).toEqual([]);
    expect((await api.call('GET', `/job/${id}`)).body).not.toHaveProperty('results');
  });

  it.each([
    ['after=1', '`after` goes with `results=true`'],
    ['results=true&after=x', '`after` must be the id of an event'],
    ['results=true&limit=1', '`limit` is not a parameter'],
  ])('refuses ?%s', async (query, message) => {
    const reply = await api.call('GET', `/job/${id}?${query}`);
    expect(reply.status).toBe(400);
    expect(reply.body.error.message).toContain(message);
  });

  it('is read no further ahead than a page of who takes it', async () => {
    const results = readJobResults(api.services, id, 0n);
    expect((await results.next()).value).toMatchObject({ data: { number: 0 } });
    // What had been read by then is all that still comes.
    await api.services.database.db.event.deleteMany({ where: { jobId: id } });
    let ahead = 0;
    for await (const _ of results) ahead += 1;
    expect(ahead).toBe(199);
  });
});

describe('who may see and cancel a job', () => {
  const userIdOf = async (username: string): Promise<string> =>
    (await api.services.database.db.user.findFirstOrThrow({ where: { username } })).id;
  /** Of looking at it, and of cancelling it. */
  const statuses = async (person: Person, id: string): Promise<number[]> => [
    (await person.call('GET', `/job/${id}`)).status,
    (await person.call('POST', `/job/${id}/cancel`)).status,
  ];
  const listed = async (person: Person): Promise<string[]> =>
    (await person.call('GET', '/job')).body.jobs;
  const grant = (username: string, permissions: unknown) =>
    api.call('PATCH', `/global/users/${username}`, { body: { permissions } });

  it.each([
    ['read', [200, 403]],
    ['write', [404, 202]],
    ['read/write', [200, 202]],
    ['', [404, 404]],
  ])('with %o on its application, and on everything, gives %j', async (access, expected) => {
    const name = `with-${access.replace('/', '-')}x`;
    const ofApplication = await addPerson(api, name, { apps: { shop: access } });
    expect(await statuses(ofApplication, (await insert()).id)).toEqual(expected);
    const ofAll = await addPerson(api, `all-${name}`, { apps: { _global: access } });
    expect(await statuses(ofAll, (await insert()).id)).toEqual(expected);
  });

  it('is decided by what who started it may do now', async () => {
    const eve = await addPerson(api, 'eve', { apps: { shop: 'write' } });
    const started = await eve.call('PUT', '/app/shop/gitrepos?name=eves');
    const { job_id: id } = started.body.job;
    // To write does not include to read, but who has started it may follow it.
    expect((await eve.call('GET', `/job/${id}`)).status).toBe(200);
    expect(await listed(eve)).toEqual([id]);
    await grant('eve', {});
    expect(await statuses(eve, id)).toEqual([404, 404]);
    expect(await listed(eve)).toEqual([]);
    expect((await eve.call('GET', `/job/${id}/events`)).status).toBe(404);
  });

  it('goes by the user and not by the name, where there is no application', async () => {
    const first = await addPerson(api, 'dave');
    const of = { username: 'dave', userId: await userIdOf('dave'), applicationId: null };
    const { id } = await insert('check_server', {}, of);
    expect((await first.call('GET', `/job/${id}`)).status).toBe(200);
    const old = await insert('check_server', {}, { ...of, userId: null });
    expect(await statuses(first, old.id)).toEqual([404, 404]);
    await api.call('DELETE', '/global/users/dave');
    const second = await addPerson(api, 'dave');
    expect(await statuses(second, id)).toEqual([404, 404]);
    expect(await listed(second)).toEqual([]);
  });

  it('fills the pages of the list with what the caller may see, and hides the ids of all else', async () => {
    const gina = await addPerson(api, 'gina', {
      apps: { shop: '', 'gina-*': 'read', club: 'write' },
    });
    const userId = await userIdOf('gina');
    const [hers, club] = await Promise.all(
      ['gina-1', 'club'].map(async (name) => {
        expect((await api.call('PUT', `/app?app_name=${name}`)).status).toBe(201);
        return api.services.database.db.application.findFirstOrThrow({ where: { name } });
      }),
    );
    const own = { username: 'gina', userId };
    const expected = [
      await insert('upkeep', {}, { applicationId: hers?.id ?? '' }),
      await insert('upkeep', {}, { ...own, applicationId: club?.id ?? '' }),
      await insert('upkeep', {}, { ...own, applicationId: null }),
      await insert('upkeep', {}, { applicationId: hers?.id ?? '' }),
      await insert('upkeep', {}, { applicationId: hers?.id ?? '' }),
    ].map(({ id }) => id);
    expected.reverse();
    // Between hers, and newer than all of them: what she may not see.
    for (const of of [own, {}, { applicationId: null }, { applicationId: club?.id ?? '' }]) {
      for (let count = 0; count < 4; count += 1) await insert('upkeep', {}, of);
    }
    const page = (query: string) => gina.call('GET', `/job?limit=3${query}`);
    const first = (await page('')).body;
    expect(first).toEqual({ jobs: expected.slice(0, 3), next: expected[2] });
    const rest = (await page(`&after=${first.next}`)).body;
    expect(rest).toEqual({ jobs: expected.slice(3) });
    expect((await page('&active=true')).body).toEqual(first);
    const { body } = await page('&details=true');
    expect(body.jobs.map((job: { job_id: string }) => job.job_id)).toEqual(first.jobs);
    for (const id of expected) expect((await gina.call('GET', `/job/${id}`)).status).toBe(200);
    expect((await api.call('GET', '/job?limit=1')).body.jobs).not.toEqual(first.jobs.slice(0, 1));
  });

  it('gives nobody the jobs that Muster starts by itself', async () => {
    const reply = await api.call('PUT', '/global/users?username=muster', {
      body: { password: 'correct horse battery staple' },
    });
    expect([reply.status, reply.body.error.code]).toEqual([400, 'invalid_input']);
    expect(reply.body.error.message).toBe(
      '`muster` stands for what Muster does by itself and cannot be the name of a user; choose another name.',
    );
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
    expect(await deleteOldHistory(database, { days: 90, signal })).toMatchObject({
      jobs: 1,
      outputs: 1,
    });
    expect((await api.call('GET', `/job/${old.id}`)).status).toBe(404);
    expect((await api.call('GET', `/job/${young.id}?results=true`)).body.results).toHaveLength(1);
    expect(await listJobEvents(db, active.id)).toHaveLength(1);
    const kept = await db.event.findMany({ where: { deploymentId } });
    expect(kept.map((e) => e.kind)).toEqual(['step']);
  });

  it('keeps the audit for ever, or for as long as the settings say', async () => {
    const { database } = api.services;
    const { db } = database;
    const longAgo = new Date(Date.now() - 400 * 86_400_000);
    const yesterday = new Date(Date.now() - 86_400_000);
    const event = { username: 'admin', action: 'old.event', subject: 'x' };
    await db.$executeRaw`delete from audit_events`;
    // More than are deleted in one transaction.
    const old = Array.from({ length: 1100 }, () => ({ ...event, at: longAgo }));
    await db.auditEvent.createMany({ data: [...old, { ...event, at: yesterday }] });
    const signal = new AbortController().signal;
    expect(await deleteOldHistory(database, { days: 90, signal })).toMatchObject({
      auditEvents: 0,
    });
    expect(await deleteOldHistory(database, { days: 90, auditDays: 401, signal })).toMatchObject({
      auditEvents: 0,
    });
    expect(await deleteOldHistory(database, { days: 90, auditDays: 399, signal })).toMatchObject({
      auditEvents: 1100,
    });
    expect(await db.auditEvent.findMany()).toMatchObject([{ at: yesterday }]);
  });

  it('takes tokens that have expired with it', async () => {
    const { database } = api.services;
    const { db } = database;
    const { id: userId } = await db.user.findFirstOrThrow({ where: { username: 'admin' } });
    const token = (name: string, expiresAt: Date | null) => ({
      userId,
      name,
      hash: new Uint8Array(Buffer.from(name)),
      expiresAt,
    });
    await db.token.createMany({
      data: [
        token('expired', new Date(Date.now() - 1000)),
        token('later', new Date(Date.now() + 3_600_000)),
        token('never', null),
      ],
    });
    const signal = new AbortController().signal;
    expect(await deleteOldHistory(database, { days: 90, signal })).toMatchObject({ tokens: 1 });
    const left = await db.token.findMany({
      where: { name: { in: ['expired', 'later', 'never'] } },
    });
    expect(left.map(({ name }) => name).sort()).toEqual(['later', 'never']);
  });
});
