import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildMonitoringApp } from '../../src/api/monitoring-app.ts';
import { startTestApi, type TestApi, TOKEN } from './test-api.ts';

/** The value of a sample; its labels in any order. */
function sample(page: string, name: string, labels: Record<string, string> = {}): number | null {
  for (const line of page.split('\n')) {
    const [, found, told = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    const hasLabels = Object.entries(labels).every(([key, text]) =>
      told.includes(`${key}="${text}"`),
    );
    if (found === name && hasLabels) return Number(value);
  }
  return null;
}

describe('GET /metrics', () => {
  let api: TestApi;
  const page = async (): Promise<string> => (await api.call('GET', '/metrics')).text;
  beforeAll(async () => {
    api = await startTestApi();
    await api.call('PUT', '/app?app_name=widgets');
  });
  afterAll(() => api.close());

  it('needs a token, and the permission to read what all applications share', async () => {
    const refused = await api.call('GET', '/metrics', { headers: { authorization: '' } });
    expect(refused.status).toBe(401);
    const answer = await api.call('GET', '/metrics');
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
  });

  it.each([
    [{ _global: 'read' }, 200],
    [{ '*': 'read/write' }, 403],
  ])('answers a user with the permissions %j by %i', async (apps, status) => {
    const [username, password] = [`user-${status}`, 'a password of the tests'];
    await api.call('PUT', `/global/users?username=${username}`, {
      body: { password, permissions: { apps, actions: {}, servers: [] } },
    });
    const { body } = await api.call('POST', '/global/tokens', { body: { username, password } });
    const answer = await api.call('GET', '/metrics', { headers: { 'auth-token': body.token } });
    expect(answer.status).toBe(status);
  });

  it('counts requests by method, route pattern and status, with their duration', async () => {
    await api.call('GET', '/app/widgets');
    await api.call('GET', '/app/widgets');
    await api.call('GET', '/app/gadgets');
    const text = await page();
    const labels = { method: 'GET', route: '/app/:application' };
    expect(sample(text, 'muster_http_requests_total', { ...labels, status: '200' })).toBe(2);
    expect(sample(text, 'muster_http_requests_total', { ...labels, status: '404' })).toBe(1);
    const duration = 'muster_http_request_duration_seconds';
    expect(sample(text, `${duration}_count`, { ...labels, status: '200' })).toBe(2);
    expect(sample(text, `${duration}_sum`, { ...labels, status: '200' })).toBeGreaterThan(0);
  });

  it('has no label that a caller could make up', async () => {
    await api.call('GET', '/no/such/path-made-up?auth_token=secret-made-up');
    await api.call('GET', '/app/name-made-up/builds');
    await api.call('GET', '/app/%zz-made-up');
    const text = await page();
    expect(text).not.toContain('made-up');
    expect(
      sample(text, 'muster_http_requests_total', { route: 'unmatched', status: '404' }),
    ).toBeGreaterThan(0);
  });

  it('tells of jobs by kind and status, and of those that are due', async () => {
    await api.call('PUT', '/app/widgets/gitrepos?name=repository');
    await expect
      .poll(
        async () => {
          const text = await page();
          return [
            sample(text, 'muster_jobs', { kind: 'create_gitrepo', status: 'queued' }),
            sample(text, 'muster_jobs_due'),
          ];
        },
        { interval: 500 },
      )
      .toEqual([1, 1]);
    expect(sample(await page(), 'muster_jobs_due_oldest_seconds')).toBeGreaterThan(0);
  });

  it('tells of the parts, the connections and the process', async () => {
    const text = await page();
    for (const part of ['database', 'queue', 'storage']) {
      expect(sample(text, 'muster_part_up', { part })).toBe(1);
    }
    expect(sample(text, 'muster_database_connections', { state: 'open' })).toBeGreaterThan(0);
    const names = [
      'muster_ssh_connections',
      'muster_ssh_logins_under_way',
      'muster_ssh_channels_in_use',
      'muster_ssh_logins_retried_total',
      'muster_ssh_logins_failed_total',
    ];
    expect(names.map((name) => sample(text, name))).toEqual(names.map(() => 0));
    expect(sample(text, 'nodejs_eventloop_lag_seconds')).not.toBeNull();
    expect(sample(text, 'process_resident_memory_bytes')).toBeGreaterThan(0);
    expect(sample(text, 'muster_build_info', { version: 'test' })).toBe(1);
  });

  it('says by muster_part_up that a part is down', async () => {
    api.health = { database: 'up', queue: 'down', storage: 'up' };
    expect(sample(await page(), 'muster_part_up', { part: 'queue' })).toBe(0);
    api.health = { database: 'up', queue: 'up', storage: 'up' };
  });
});

describe('the listener of a worker', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.close());

  it('answers health to anybody, metrics to a token, and nothing else', async () => {
    const { services } = api;
    const metrics = {
      contentType: 'text/plain',
      render: () => Promise.resolve('up 1\n'),
      requestEnded: () => {},
      jobEnded: () => {},
    };
    const checkHealth = () => Promise.resolve(api.health);
    const app = await buildMonitoringApp({ services, checkHealth, metrics });
    const status = async (url: string, token = '') =>
      (
        await app.inject({
          url,
          ...(token === '' ? {} : { headers: { authorization: `Bearer ${token}` } }),
        })
      ).statusCode;
    expect(await status('/healthz')).toBe(200);
    expect(await status('/readyz')).toBe(200);
    expect(await status('/metrics')).toBe(401);
    expect(await status('/metrics', 'wrong')).toBe(401);
    expect(await status('/metrics', TOKEN)).toBe(200);
    expect(await status('/app', TOKEN)).toBe(404);
    await app.close();
  });
});
