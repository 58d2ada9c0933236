import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must } from './shop.ts';
import { startTestApi, type TestApi } from './test-api.ts';

const URL = 'https://hooks.example.com/services/T01/a-secret-path';
const SECRET = 'the-secret-of-the-webhook';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await must(api, 'PUT', '/app?app_name=shop');
  await must(api, 'PUT', '/app?app_name=other');
});
afterAll(() => api.close());

describe.each([
  ['/global/webhooks', {}],
  ['/app/shop/webhooks', { application: 'shop' }],
])('%s', (at, owner) => {
  it('makes, shows, changes and deletes webhooks, and never tells what is secret', async () => {
    const made = await api.call('PUT', `${at}?name=chat`, {
      body: { url: URL, kind: 'slack', events: ['deployment.*'], secret: SECRET },
    });
    const shown = {
      ...owner,
      name: 'chat',
      kind: 'slack',
      url: 'https://hooks.example.com',
      events: ['deployment.*'],
      signed: true,
      active: true,
      created_datetime: expect.any(String),
    };
    expect(made).toMatchObject({ status: 201, headers: { location: `${at}/chat` }, body: shown });
    expect(Object.keys(made.body).sort()).toEqual(Object.keys(shown).sort());
    expect((await must(api, 'GET', `${at}/chat`)).body).toEqual(shown);
    expect((await must(api, 'GET', at)).body).toEqual({ ...owner, webhooks: ['chat'] });
    expect((await must(api, 'GET', `${at}?details=true`)).body.webhooks).toEqual([shown]);
    const changed = await must(api, 'PATCH', `${at}/chat`, {
      url: 'http://10.1.2.3:8080/x',
      kind: 'webhook',
      secret: null,
      active: 'no',
    });
    expect(changed.body).toEqual({
      ...shown,
      kind: 'webhook',
      url: 'http://10.1.2.3:8080',
      signed: false,
      active: false,
    });
    expect((await must(api, 'DELETE', `${at}/chat`)).body).toEqual({
      deleted: { ...owner, webhook: 'chat' },
    });
    expect(await api.call('GET', `${at}/chat`)).toMatchObject({ status: 404 });
  });

  it('has each name once, apart from the names of others', async () => {
    await must(api, 'PUT', `${at}?name=once`, { url: URL });
    expect(await api.call('PUT', `${at}?name=once`, { body: { url: URL } })).toMatchObject({
      status: 409,
      body: { error: { code: 'already_exists' } },
    });
    await must(api, 'PUT', `/app/other/webhooks?name=once`, { url: URL });
    await must(api, 'DELETE', `/app/other/webhooks/once`);
    expect(await api.call('GET', `${at}/onec`)).toMatchObject({
      status: 404,
      body: { error: { details: { kind: 'webhook', nearest: 'once' } } },
    });
  });

  it('keeps what was sent, page by page, newest first', async () => {
    await must(api, 'PUT', `${at}?name=pages`, { url: URL });
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      const ping = await api.call('POST', `${at}/pages/ping`);
      expect(ping).toMatchObject({
        status: 202,
        headers: { location: `${at}/pages/deliveries/${ping.body.id}` },
      });
      ids.unshift(ping.body.id);
    }
    const first = (await must(api, 'GET', `${at}/pages/deliveries?limit=2`)).body;
    expect(first).toEqual({
      ...owner,
      webhook: 'pages',
      deliveries: ids.slice(0, 2),
      next: ids[1],
    });
    const rest = (await must(api, 'GET', `${at}/pages/deliveries?details=true&after=${first.next}`))
      .body;
    expect(rest.deliveries.map(({ id }: { id: string }) => id)).toEqual(ids.slice(2));
    expect(rest.deliveries[0]).toEqual({
      ...owner,
      webhook: 'pages',
      id: ids[2],
      event: 'ping',
      status: 'pending',
      attempts: 0,
      next_attempt_at: expect.any(String),
      response_status: null,
      error: null,
      resend_of: null,
      created_datetime: expect.any(String),
      delivered_at: null,
      payload: expect.objectContaining({ event: 'ping', data: expect.anything() }),
    });
    expect(
      (await must(api, 'GET', `${at}/pages/deliveries?status=failed`)).body.deliveries,
    ).toEqual([]);
    // What waits is given up when nothing is to be sent any more.
    await must(api, 'PATCH', `${at}/pages`, { active: false });
    const failed = (await must(api, 'GET', `${at}/pages/deliveries?status=failed&details=1`)).body;
    expect(failed.deliveries).toHaveLength(5);
    expect(failed.deliveries[0].error).toBe('The webhook was deactivated.');
    const unknown = '01a1fd52-2d04-74b1-bc48-c083174cf85f';
    for (const path of [unknown, 'not-an-id']) {
      expect((await api.call('GET', `${at}/pages/deliveries/${path}`)).status).toBe(404);
    }
  });
});

describe('a webhook', () => {
  const at = '/app/shop/webhooks';

  it('gets a secret that Muster makes, which is shown in that reply alone', async () => {
    const headers = { 'idempotency-key': 'make-it' };
    const body = { url: URL, generate: true };
    const made = await api.call('PUT', `${at}?name=made`, { headers, body });
    expect(made.body).toMatchObject({ signed: true, secret: expect.stringMatching(/^\w{64}$/) });
    expect((await must(api, 'GET', `${at}/made`)).text).not.toContain(made.body.secret);
    // Kept for its key it would lie in the database as it is.
    expect((await api.call('PUT', `${at}?name=made`, { headers, body })).status).toBe(409);
    const rows = await api.services.database.db.idempotencyKey.findMany();
    expect(JSON.stringify(rows)).not.toContain(made.body.secret);
    const other = (await must(api, 'PATCH', `${at}/made`, { generate: true })).body.secret;
    expect(other).toMatch(/^\w{64}$/);
    expect(other).not.toBe(made.body.secret);
  });

  it('hears of the ends of deployments if it says nothing', async () => {
    const { body } = await must(api, 'PUT', `${at}?name=default`, { url: URL });
    expect(body).toMatchObject({
      kind: 'webhook',
      signed: false,
      active: true,
      events: [
        'deployment.succeeded',
        'deployment.failed',
        'deployment.cancelled',
        'deployment.rolled_back',
      ],
    });
  });

  it.each([
    ['no url', {}, 'invalid_input', '`url` is missing'],
    ['an unknown key', { url: URL, evnts: [] }, 'unknown_parameter', 'did you mean `events`?'],
    ['an unknown kind', { url: URL, kind: 'mail' }, 'invalid_input', '`kind`'],
    [
      'an unknown event',
      { url: URL, events: ['deployment.exploded'] },
      'invalid_input',
      'No event is called `deployment.exploded`; there are `deployment.created`',
    ],
    ['no event at all', { url: URL, events: [] }, 'invalid_input', '`events`'],
    ['a short secret', { url: URL, secret: 'x' }, 'invalid_input', '`secret`'],
    ['two secrets', { url: URL, secret: SECRET, generate: true }, 'invalid_input', '`generate`'],
    ['a path', { url: '/hook' }, 'webhook_url_refused', 'is not an absolute URL'],
    ['another scheme', { url: 'ftp://example.com/x' }, 'webhook_url_refused', 'leads to ftp:'],
    [
      "a cloud's metadata",
      { url: 'http://169.254.169.254/latest' },
      'webhook_url_refused',
      'which is link-local, where clouds have their metadata service',
    ],
    ['another notation of it', { url: 'http://0xa9fea9fe/' }, 'webhook_url_refused', '169.254'],
  ])('is refused with %s', async (_what, body, code, message) => {
    const reply = await api.call('PUT', `${at}?name=bad`, { body });
    expect(reply).toMatchObject({ status: 400, body: { error: { code } } });
    expect(reply.body.error.message).toContain(message);
    expect((await api.call('GET', `${at}/bad`)).status).toBe(404);
  });

  it('goes with its application', async () => {
    await must(api, 'PUT', '/app?app_name=doomed');
    await must(api, 'PUT', '/app/doomed/webhooks?name=hook', { url: URL });
    await must(api, 'POST', '/app/doomed/webhooks/hook/ping');
    await must(api, 'DELETE', '/app/doomed');
    expect((await api.call('GET', '/app/doomed/webhooks')).status).toBe(404);
  });
});
