import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, startTestApi, type TestApi } from './test-api.ts';

/** What differs from one reply to the next. */
const OWN_TO_A_REPLY = new Set([
  'cache-control',
  'connection',
  'content-length',
  'content-security-policy',
  'content-type',
  'date',
  'x-request-id',
]);

describe('the headers of replies', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.close());

  it.each([
    ['a read', 'GET', '/app', 200],
    ['an open route', 'GET', '/healthz', 200],
    ['a path that does not exist', 'GET', '/nothing', 404],
    ['a method that does not exist', 'POST', '/app', 405],
    ['a URL that cannot be read', 'GET', '/app/%zz', 400],
    ['a call without a token', 'GET', '/app?auth_token=wrong', 401],
    ['a call that is refused', 'PUT', '/app?app_name=%20', 400],
  ])('protect %s', async (_what, method, url, status) => {
    const { headers, ...reply } = await api.call(method, url);
    expect(reply.status).toBe(status);
    expect(headers).toMatchObject({
      'content-security-policy': "default-src 'none';frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
      'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('strict-transport-security');
  });

  it('say who a reply is about: the same id as in the log', async () => {
    const { headers } = await api.call('PUT', '/app?app_name=widgets');
    const lines = api.logLines.filter((line) => line.includes(String(headers['x-request-id'])));
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      msg: 'request',
      method: 'PUT',
      status: 201,
      username: 'admin',
    });
  });
});

describe('the page at /docs', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.close());
  const get = (url: string) => api.call('GET', url, { headers: { authorization: '' } });

  it('is open, and loads nothing but what Muster itself has and its policy allows', async () => {
    const page = await get('/docs');
    expect(page.status).toBe(200);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    const policy = String(page.headers['content-security-policy']);
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("connect-src 'self'");
    expect(policy).not.toContain('upgrade-insecure-requests');
    const loaded = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url ?? '');
    expect(loaded).toHaveLength(4);
    for (const url of loaded) {
      const file = await get(url);
      expect({ url, status: file.status }).toEqual({ url, status: 200 });
      expect(file.headers['content-type']).not.toContain('json');
    }
    // Scripts in the page itself would be refused by the policy.
    expect(page.text).not.toMatch(/<script>|\son\w+=/);
  });

  it('has beside its policy what helmet sets, as every other reply has', async () => {
    const protection = ({ headers }: Answer) =>
      Object.entries(headers).filter(([name]) => !OWN_TO_A_REPLY.has(name));
    const page = protection(await get('/docs'));
    expect(page.length).toBeGreaterThan(8);
    expect(protection(await api.call('GET', '/app')).sort()).toEqual(page.sort());
  });

  it('shows the document of this very Muster', async () => {
    expect((await get('/docs/start.js')).text).toContain("url: '/openapi.json'");
    expect((await get('/docs/')).status).toBe(200);
  });
});
