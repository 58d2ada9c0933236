import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './test-api.ts';

const UNKNOWN = '01a1fd52-2d04-74b1-bc48-c083174cf85f';
const ACTIONS = ['cancel', 'pause', 'resume', 'retry', 'rollback'];

let api: TestApi;
let id: string;
/** A deployment of the given status, without a plan; nobody runs it. */
const insert = async (status: string): Promise<string> => {
  const { db } = api.services.database;
  const app = await db.application.findFirst();
  const options = {
    rolling_divisor: 1,
    rolling_pause: 0,
    ordered_pause: 0,
    max_failures: 0,
    on_failure: 'stop',
    concurrency: 1,
  };
  const target = { style: 'manual', environments: [], groups: [], servers: [], gitdeploys: [] };
  const [row] = await db.$queryRaw<{ id: string }[]>`
    insert into deployments (id, application_id, build_name, username, status, target, options)
    values (gen_random_uuid(), ${app?.id}::uuid, 'b', 'admin', ${status}::deployment_status,
            ${JSON.stringify(target)}::json, ${JSON.stringify(options)}::json)
    returning id::text`;
  return row?.id ?? '';
};

beforeAll(async () => {
  api = await startTestApi();
  await api.call('PUT', '/app?app_name=shop');
  await api.call('PUT', '/app?app_name=other');
  id = await insert('running');
});
afterAll(() => api.close());

describe('what is asked of a deployment', () => {
  it.each(ACTIONS)('is refused for %s where there is no such deployment', async (action) => {
    for (const path of [`/app/shop/deployments/${UNKNOWN}`, `/app/other/deployments/${id}`]) {
      expect((await api.call('POST', `${path}/${action}`)).status).toBe(404);
    }
    expect((await api.call('POST', `/app/none/deployments/${id}/${action}`)).status).toBe(404);
    expect((await api.call('GET', `/app/shop/deployments/${id}/${action}`)).status).toBe(405);
    expect(
      (await api.call('POST', `/app/shop/deployments/${id}/${action}?wait=x`)).body.error.code,
    ).toBe('invalid_input');
    expect(
      (await api.call('POST', `/app/shop/deployments/${id}/${action}?force=true`)).body.error.code,
    ).toBe('unknown_parameter');
  });

  it.each([
    ['succeeded', ['rollback']],
    ['failed', ['retry', 'rollback']],
    ['cancelled', ['retry', 'rollback']],
    ['rolled_back', []],
    ['rolling_back', []],
    ['queued', ['cancel']],
    ['preparing', ['cancel']],
    ['running', ['cancel', 'pause']],
    ['paused', ['cancel', 'resume', 'rollback']],
  ])('when it is %s is accepted for %j alone', async (status, accepted) => {
    for (const action of ACTIONS) {
      const one = await insert(status);
      const reply = await api.call('POST', `/app/shop/deployments/${one}/${action}`);
      expect([action, reply.status]).toEqual([action, accepted.includes(action) ? 202 : 409]);
      if (reply.status === 409) {
        expect(reply.body.error).toMatchObject({ code: 'conflict', details: { status } });
        expect((await api.call('GET', `/app/shop/deployments/${one}`)).body.status).toBe(status);
      }
    }
  });

  it('starts a job for what has ended, and says so', async () => {
    const one = await insert('failed');
    const retried = await api.call('POST', `/app/shop/deployments/${one}/retry`);
    expect(retried).toMatchObject({
      status: 202,
      body: { id: one, status: 'queued', error: null, finished_at: null },
    });
    const { job } = retried.body;
    expect(retried.headers['location']).toBe(`/job/${job.job_id}`);
    expect((await api.call('GET', `/job/${job.job_id}`)).body).toMatchObject({
      kind: 'run_deployment',
      data: { application: 'shop', deployment_id: one },
    });
  });
});
