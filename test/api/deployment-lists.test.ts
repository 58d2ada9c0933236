import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addShop, must } from './shop.ts';
import { startTestApi, type TestApi } from './test-api.ts';

const AT = '/app/shop/deployments';
/** More than come in one page from the database. */
const MANY = 600;

let api: TestApi;
let ids: string[];
beforeAll(async () => {
  api = await startTestApi();
  await addShop(api);
  const { db } = api.services.database;
  await db.$executeRaw`
    insert into deployments (id, application_id, build_name, username, status, target, options)
    select uuidv7(), id, 'old-' || n, 'admin', 'succeeded',
           '{"style":"group","environments":["e"],"groups":["g"],"servers":[],"gitdeploys":[]}',
           '{"rolling_divisor":2,"rolling_pause":0,"ordered_pause":0,"max_failures":0,"on_failure":"stop","concurrency":50}'
      from applications, generate_series(1, ${MANY}) n where name = 'shop'`;
  const manual = { servers: ['web01', 'db01'], gitdeploys: ['Web'] };
  await must(api, 'POST', `${AT}?build_name=1.0&reason=manual`, manual);
  const group = { environments: ['production', 'staging'], groups: ['All'] };
  await must(api, 'POST', `${AT}?build_name=1.0&canary=1`, group);
  ids = (await db.deployment.findMany({ orderBy: { id: 'desc' } })).map(({ id }) => id);
  const [newest] = await db.gitrepo.findMany();
  await db.deploymentCommit.create({
    data: {
      deploymentId: ids[0] ?? '',
      gitrepoId: newest?.id ?? '',
      gitrepoName: 'repo',
      branch: 'master',
      tree: 'b'.repeat(40),
      commit: 'a'.repeat(40),
      changedFiles: { added: 0, modified: 0, deleted: 0, files: [] },
    },
  });
});
afterAll(() => api.close());

/** Fills in what one deployment in a list may have and others have not. */
const CHANGES = [
  `status = 'failed', error = '{"code":"server_unreachable","message":"\\"no\\"","details":{"a":[1]}}', finished_at = now()`,
  `status = 'paused', waiting_for = '{"kind":"approval","after_batch":0}', pause_requested_at = now()`,
  `status = 'running', started_at = '2026-01-02T03:04:05.060Z', finished_at = now(), cancel_requested_at = now()`,
  `superseded_by_id = id, plan_hash = 'abc', reason = 'a "reason"\n\u2028 \\ ü', username = 'a"b'`,
  `started_at = '2026-01-02T03:04:05Z', finished_at = '2026-12-31T23:59:59.999Z'`,
];

describe('the list of deployments', () => {
  it('is whole and newest first, from the beginning or after one that is known', async () => {
    const all = await must(api, 'GET', AT);
    expect(all.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(all.body).toEqual({ application: 'shop', deployments: ids });
    const rest = await must(api, 'GET', `${AT}?after=${ids[250]}`);
    expect(rest.body).toEqual({ application: 'shop', deployments: ids.slice(251) });
    const last = await must(api, 'GET', `${AT}?after=${ids.at(-1)}`);
    expect(last.body).toEqual({ application: 'shop', deployments: [] });
  });

  it('tells where the next page begins', async () => {
    const page = await must(api, 'GET', `${AT}?limit=2`);
    expect(page.body).toEqual({
      application: 'shop',
      deployments: ids.slice(0, 2),
      next: ids[1],
    });
    const last = await must(api, 'GET', `${AT}?limit=2&after=${ids.at(-3)}`);
    expect(last.body).toEqual({ application: 'shop', deployments: ids.slice(-2) });
  });

  it('shows with details, byte for byte, what each deployment shows', async () => {
    const one = async (id: string): Promise<string> => (await must(api, 'GET', `${AT}/${id}`)).text;
    const shown = [await one(ids[0] ?? ''), await one(ids[1] ?? ''), await one(ids[2] ?? '')];
    const list = await must(api, 'GET', `${AT}?details=true&limit=3`);
    expect(list.text).toBe(
      `{"application":"shop","deployments":[${shown.join(',')}],"next":"${ids[2]}"}`,
    );
    expect(shown[0]).toContain('"server":"web01"');
    expect(shown[0]).toContain(`"commits":{"repo":{"branch":"master","commit":"${'a'.repeat(40)}"`);
    const rest = await must(api, 'GET', `${AT}?details=true&limit=1000`);
    expect(rest.body.deployments.map(({ id }: { id: string }) => id)).toEqual(ids);
  });

  it('shows so whatever has become of one', async () => {
    const { db } = api.services.database;
    const [shown = '', other = ''] = ids;
    await db.$executeRaw`
      update steps set status = 'failed', attempts = 2, error = '{"code":"server_unreachable","message":"m","details":{}}',
             log_excerpt = E'a\nb', started_at = '2026-01-02T03:04:05.060Z', finished_at = '2026-01-02T03:05:05Z'
       where deployment_id = ${shown}::uuid and server_name = 'web01'`;
    await db.$executeRaw`
      update batches set phase = 'rollback', started_at = now(), approved_by = 'x', approved_at = now()
       where deployment_id = ${shown}::uuid and index > 0`;
    for (const change of CHANGES) {
      await db.$executeRawUnsafe(
        `update deployments set ${change} where id in ('${shown}', '${other}')`,
      );
      const one = (await must(api, 'GET', `${AT}/${shown}`)).text;
      const list = await must(api, 'GET', `${AT}?details=true&limit=1`);
      expect(list.text).toBe(`{"application":"shop","deployments":[${one}],"next":"${shown}"}`);
    }
  });

  it('tells with details where the next page begins, and that there is none', async () => {
    const pages: string[][] = [];
    for (let after = ''; pages.length < 10; ) {
      const { body } = await must(api, 'GET', `${AT}?details=true&limit=${ids.length / 2}${after}`);
      pages.push(body.deployments.map(({ id }: { id: string }) => id));
      if (body.next === undefined) break;
      expect(body.next).toBe(pages.at(-1)?.at(-1));
      after = `&after=${body.next}`;
    }
    expect(pages).toEqual([ids.slice(0, ids.length / 2), ids.slice(ids.length / 2)]);
    const none = await must(api, 'GET', `${AT}?details=true&limit=5&after=${ids.at(-1)}`);
    expect(none.body).toEqual({ application: 'shop', deployments: [] });
  });

  it('is refused as a whole if there is no such application', async () => {
    for (const query of ['', '?details=true', '?limit=5']) {
      const reply = await api.call('GET', `/app/shap/deployments${query}`);
      expect([reply.status, reply.body.error.code]).toEqual([404, 'not_found']);
    }
  });
});
