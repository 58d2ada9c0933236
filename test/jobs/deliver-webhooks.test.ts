import { createHmac } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MAX_DELIVERY_ATTEMPTS } from '../../src/domain/webhook-retry.ts';
import { startWebhookDeliverer, type WebhookDeliverer } from '../../src/jobs/deliver-webhooks.ts';
import { deleteOldHistory } from '../../src/jobs/retention.ts';
import { appendEvent } from '../../src/store/events.ts';
import { claimDeliveries, recordUndelivered } from '../../src/store/webhook-deliveries.ts';
import { ALLOW_NONE } from '../../src/transport/http/address-policy.ts';
import { addShop, must } from '../api/shop.ts';
import { startTestApi, type TestApi } from '../api/test-api.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.ts';
import { makeCertificate } from '../transport/http/file-server.ts';

const HOOKS = '/app/shop/webhooks';
const SECRET = 'the-secret-of-the-webhook';
// All eight attempts within a tenth of a second.
const FAST = { retryMs: 0.01, timeoutMs: 60_000 };

let api: TestApi;
let receiver: WebhookReceiver;
const deliverers = new Set<WebhookDeliverer>();
beforeAll(async () => {
  api = await startTestApi({ settings: { MUSTER_PUBLIC_URL: 'https://muster.example.com/' } });
  await addShop(api);
});
beforeEach(async () => {
  receiver = await startWebhookReceiver();
});
afterEach(async () => {
  await receiver.close();
  for (const deliverer of deliverers) await deliverer.close();
  deliverers.clear();
  await api.services.database.db.$executeRaw`truncate webhooks cascade`;
});
afterAll(() => api.close());

/** Starts to deliver in this process. */
function deliver(webhooks: Partial<typeof api.services.config.webhooks> = {}): WebhookDeliverer {
  const { config, database, listener, log } = api.services;
  const changed = { ...config, webhooks: { ...config.webhooks, ...FAST, ...webhooks } };
  const deliverer = startWebhookDeliverer({
    config: changed,
    database,
    listener,
    log,
    version: '1.2.3',
  });
  deliverers.add(deliverer);
  return deliverer;
}

const hook = (name: string, body: object = {}, at = HOOKS) =>
  must(api, 'PUT', `${at}?name=${name}`, { url: `${receiver.url}/${name}`, ...body });
const ping = async (name: string, at = HOOKS): Promise<string> =>
  (await must(api, 'POST', `${at}/${name}/ping`)).body.id;
const show = async (name: string, id: string) =>
  (await must(api, 'GET', `${HOOKS}/${name}/deliveries/${id}`)).body;
const until = async (name: string, id: string, status: string) => {
  await expect.poll(async () => (await show(name, id)).status, { timeout: 60_000 }).toBe(status);
  return show(name, id);
};
const makeDue = (): Promise<unknown> =>
  api.services.database.db.$executeRaw`
    update webhook_deliveries set next_attempt_at = now() where status = 'pending'`;
const logged = (): string => api.logLines.join('\n');

describe('a message', () => {
  it('is signed so that its receiver can tell that it is from Muster and unchanged', async () => {
    await hook('signed', { secret: SECRET });
    const id = await ping('signed');
    deliver();
    const [message] = await receiver.until(1);
    expect(message?.headers).toMatchObject({
      'x-muster-event': 'ping',
      'x-muster-delivery': id,
      'user-agent': 'Muster/1.2.3',
      'content-type': 'application/json; charset=utf-8',
      'x-muster-signature-256': `sha256=${createHmac('sha256', SECRET)
        .update(message?.body ?? '')
        .digest('hex')}`,
    });
    expect(message).toMatchObject({
      path: '/signed',
      json: { event: 'ping', application: 'shop', data: { webhook: 'signed', username: 'admin' } },
    });
    expect(Date.parse(message?.json.time)).toBeGreaterThan(0);
    expect(await until('signed', id, 'delivered')).toMatchObject({
      attempts: 1,
      response_status: 204,
      error: null,
      next_attempt_at: null,
      delivered_at: expect.any(String),
    });
  });

  it('has no signature without a secret, and the login that the URL holds in its header', async () => {
    const url = receiver.url.replace('//', '//me:p%40ss@');
    await hook('plain', { url: `${url}/x?y=z#part` });
    await ping('plain');
    deliver();
    const [message] = await receiver.until(1);
    expect(message?.path).toBe('/x?y=z');
    expect(message?.headers).not.toHaveProperty('x-muster-signature-256');
    expect(message?.headers.authorization).toBe(
      `Basic ${Buffer.from('me:p@ss').toString('base64')}`,
    );
  });

  it('is tried again, each time under the same id and with the same text, until it arrives', async () => {
    await hook('busy', { secret: SECRET });
    const id = await ping('busy');
    receiver.answer = (reply) => {
      const { length } = receiver.messages;
      if (length === 1) reply.destroy();
      else reply.writeHead(length === 2 ? 500 : length === 3 ? 404 : 200).end();
    };
    deliver();
    const delivered = await until('busy', id, 'delivered');
    expect(delivered).toMatchObject({ attempts: 4, response_status: 200, error: null });
    const { messages } = receiver;
    expect(messages).toHaveLength(4);
    expect(new Set(messages.map((m) => m.headers['x-muster-delivery']))).toEqual(new Set([id]));
    expect(new Set(messages.map((m) => m.body)).size).toBe(1);
  });

  it('is given up after eight attempts, and can be sent again by hand', async () => {
    await hook('down');
    const id = await ping('down');
    receiver.answer = 503;
    deliver();
    const failed = await until('down', id, 'failed');
    expect(failed).toMatchObject({
      attempts: MAX_DELIVERY_ATTEMPTS,
      response_status: 503,
      error: 'The receiver answered 503.',
      next_attempt_at: null,
      delivered_at: null,
    });
    expect(receiver.messages).toHaveLength(MAX_DELIVERY_ATTEMPTS);
    receiver.answer = 200;
    const again = await api.call('POST', `${HOOKS}/down/deliveries/${id}/resend`);
    expect(again).toMatchObject({
      status: 202,
      headers: { location: `${HOOKS}/down/deliveries/${again.body.id}` },
      body: { resend_of: id, status: 'pending', attempts: 0, payload: failed.payload },
    });
    await until('down', again.body.id, 'delivered');
    expect(receiver.messages.at(-1)?.json).toEqual(receiver.messages[0]?.json);
    expect((await show('down', id)).status).toBe('failed');
  });

  it('follows no redirect', async () => {
    const other = await startWebhookReceiver();
    await hook('moved');
    const id = await ping('moved');
    receiver.answer = (reply) => reply.writeHead(307, { location: other.url }).end();
    deliver();
    expect(await until('moved', id, 'failed')).toMatchObject({ response_status: 307 });
    expect(other.messages).toEqual([]);
    await other.close();
  });

  it('is not sent where the certificate is not to be trusted', async () => {
    const { key, cert } = await makeCertificate();
    const tls = await startWebhookReceiver({ key, cert });
    await hook('tls', { url: `${tls.url}/hook` });
    const id = await ping('tls');
    deliver();
    const failed = await until('tls', id, 'failed');
    expect(failed.error).toMatch(/^The certificate of localhost is not trusted \(.*\)\.$/);
    expect(tls.messages).toEqual([]);
    await tls.close();
  });

  it('is not sent to addresses that are not allowed, also if a name leads there', async () => {
    await hook('inside', { url: 'http://localhost:9/hook' });
    const id = await ping('inside');
    deliver({ allow: ALLOW_NONE });
    const failed = await until('inside', id, 'failed');
    expect(failed.error).toMatch(/`url` leads to the host localhost, whose address .* is/);
  });

  it('that nobody answers is given up in time, and the answer of who sends without end is not read', async () => {
    await hook('silent');
    const id = await ping('silent');
    receiver.answer = () => undefined;
    const hasty = deliver({ timeoutMs: 100 });
    const failed = await until('silent', id, 'failed');
    expect(failed).toMatchObject({
      attempts: MAX_DELIVERY_ATTEMPTS,
      response_status: null,
      error: expect.stringMatching(/^127\.0\.0\.1 did not answer /),
    });
    await hasty.close();
    deliver();
    let isCut = false;
    receiver.answer = (reply) => {
      reply.once('close', () => {
        isCut = true;
      });
      reply.writeHead(200);
      const write = (): void => {
        if (!isCut) reply.write('x'.repeat(65_536), () => setImmediate(write));
      };
      write();
    };
    const endless = await ping('silent');
    await until('silent', endless, 'delivered');
    await expect.poll(() => isCut, { timeout: 60_000 }).toBe(true);
  });
});

describe('a receiver', () => {
  it('that hangs holds no other one up', async () => {
    await hook('hanging');
    for (let n = 0; n < 30; n += 1) await ping('hanging');
    const other = await startWebhookReceiver();
    await hook('quick', { url: other.url });
    receiver.answer = () => undefined;
    deliver();
    await receiver.until(4);
    const ids = [];
    for (let n = 0; n < 10; n += 1) ids.push(await ping('quick'));
    for (const id of ids) await until('quick', id, 'delivered');
    // Four places are all that it ever takes.
    expect(receiver.messages).toHaveLength(4);
    await other.close();
  });

  it('that is gone for good gets nothing more until a user wants it again', async () => {
    await hook('gone');
    const first = await ping('gone');
    receiver.answer = 410;
    deliver();
    expect(await until('gone', first, 'failed')).toMatchObject({ attempts: 1 });
    await expect
      .poll(async () => (await must(api, 'GET', `${HOOKS}/gone`)).body.active, { timeout: 60_000 })
      .toBe(false);
    const [event] = (await must(api, 'GET', '/audit?action=webhook.change')).body.events;
    expect(event).toMatchObject({
      username: '-',
      application: 'shop',
      subject: 'gone',
      after: { active: false },
    });
    receiver.answer = 200;
    await must(api, 'PATCH', `${HOOKS}/gone`, { active: true });
    await until('gone', await ping('gone'), 'delivered');
  });
});

describe('a worker', () => {
  it('that dies between sending and writing it down has the message sent again under its id', async () => {
    await hook('twice');
    const id = await ping('twice');
    const { db } = api.services.database;
    const take = () =>
      claimDeliveries(db, { limit: 10, perWebhook: 4, busy: new Map(), leaseSeconds: 60 });
    // What a worker does before it sends; then this one is never heard of again.
    const [taken] = await take();
    expect(taken).toMatchObject({ id, attempts: 1 });
    // As long as it may be alive, nobody else sends it.
    expect(await take()).toEqual([]);
    await makeDue();
    deliver();
    await receiver.until(1);
    expect(receiver.messages[0]?.headers['x-muster-delivery']).toBe(id);
    await until('twice', id, 'delivered');
    // It was only frozen, and comes too late with its own result.
    await recordUndelivered(db, { id, attempts: 1, responseStatus: 500, error: 'late' }, 1);
    expect(await show('twice', id)).toMatchObject({ status: 'delivered', attempts: 2 });
  });

  it('that stops gives back what it could not send', async () => {
    await hook('cut');
    const id = await ping('cut');
    receiver.answer = () => undefined;
    const first = deliver();
    await receiver.until(1);
    await first.close();
    expect(await show('cut', id)).toMatchObject({ status: 'pending', attempts: 0 });
    receiver.answer = 200;
    deliver();
    await until('cut', id, 'delivered');
  });

  it('shares the messages with the others, so that each is sent once', async () => {
    await hook('many');
    const ids = [];
    for (let n = 0; n < 40; n += 1) ids.push(await ping('many'));
    for (let n = 0; n < 3; n += 1) deliver();
    const pending = async () =>
      (await must(api, 'GET', `${HOOKS}/many/deliveries?status=pending`)).body.deliveries;
    await expect.poll(pending, { timeout: 60_000 }).toEqual([]);
    const sent = receiver.messages.map((m) => m.headers['x-muster-delivery']);
    expect([...sent].sort()).toEqual([...ids].sort());
  });
});

describe('what webhooks hear of', () => {
  const tell = async (status: string): Promise<string> => {
    const target = { servers: ['web01'], gitdeploys: ['Web'] };
    const url = '/app/shop/deployments?build_name=1.0&reason=because';
    const { id } = (await must(api, 'POST', url, target)).body;
    await api.services.database.transaction(async (tx) => {
      const data = { status };
      await appendEvent(tx, { jobId: null, deploymentId: id, kind: 'deployment', data });
    });
    return id;
  };

  it('are the ends of deployments, unless they choose by patterns', async () => {
    const hooks: Record<string, string[] | undefined> = {
      ends: undefined,
      all: ['*'],
      bad: ['*.failed'],
      two: ['deployment.created', 'deployment.failed'],
      batches: ['batch.*', 'build.*'],
    };
    for (const [name, events] of Object.entries(hooks)) await hook(name, { events });
    await tell('failed');
    await tell('rolling_back');
    const heard = async (name: string): Promise<string[]> =>
      (await must(api, 'GET', `${HOOKS}/${name}/deliveries?details=true`)).body.deliveries
        .map(({ event }: { event: string }) => event)
        .reverse();
    expect(await heard('ends')).toEqual(['deployment.failed']);
    expect(await heard('all')).toEqual([
      'deployment.created',
      'deployment.failed',
      'deployment.created',
      'deployment.rolling_back',
    ]);
    expect(await heard('bad')).toEqual(['deployment.failed']);
    expect(await heard('two')).toEqual([
      'deployment.created',
      'deployment.failed',
      'deployment.created',
    ]);
    expect(await heard('batches')).toEqual([]);
  });

  it('is kept exactly if the event is, in its transaction', async () => {
    await hook('exact', { events: ['*'] });
    const { database } = api.services;
    const id = await tell('failed');
    await expect(
      database.transaction(async (tx) => {
        const data = { status: 'succeeded' };
        await appendEvent(tx, { jobId: null, deploymentId: id, kind: 'deployment', data });
        throw new Error('rolled back');
      }),
    ).rejects.toThrow('rolled back');
    const { deliveries } = (await must(api, 'GET', `${HOOKS}/exact/deliveries?details=true`)).body;
    expect(deliveries.map(({ event }: { event: string }) => event)).toEqual([
      'deployment.failed',
      'deployment.created',
    ]);
  });

  it('is the same for the webhooks of the application and those of all; those of others hear nothing', async () => {
    await must(api, 'PUT', '/app?app_name=other');
    await hook('own', { events: ['deployment.failed'] });
    await hook('own', { events: ['deployment.failed'] }, '/global/webhooks');
    await hook('foreign', { events: ['*'] }, '/app/other/webhooks');
    await hook('off', { events: ['*'], active: false });
    const id = await tell('failed');
    deliver();
    const messages = await receiver.until(2);
    expect(messages.map(({ path }) => path)).toEqual(['/own', '/own']);
    const [own, global] = messages;
    expect(own?.json).toEqual(global?.json);
    expect(own?.headers['x-muster-delivery']).not.toBe(global?.headers['x-muster-delivery']);
    expect(own?.json).toMatchObject({
      event: 'deployment.failed',
      application: 'shop',
      link: `https://muster.example.com/app/shop/deployments/${id}`,
      deployment: {
        id,
        build: '1.0',
        username: 'admin',
        reason: 'because',
        status: 'failed',
        target: { style: 'manual', gitdeploys: ['Web'], servers: ['web01'], server_count: 1 },
        progress: { total: 1, done: 0, failed: 0, percent: 0 },
      },
      data: { status: 'failed' },
    });
    for (const name of ['foreign', 'off']) {
      const at = name === 'foreign' ? '/app/other/webhooks' : HOOKS;
      expect((await must(api, 'GET', `${at}/${name}/deliveries`)).body.deliveries).toEqual([]);
    }
  });

  it('is for people where the webhook is of the kind slack', async () => {
    await hook('chat', { kind: 'slack', events: ['deployment.failed'] });
    const id = await tell('failed');
    deliver();
    const [message] = await receiver.until(1);
    expect(message?.json).toEqual({
      text: `shop: deployment of 1.0 to web01 failed <https://muster.example.com/app/shop/deployments/${id}|Details>`,
      attachments: [
        {
          color: 'danger',
          fallback: 'shop: deployment of 1.0 to web01 failed',
          fields: expect.arrayContaining([
            { title: 'Build', value: '1.0', short: true },
            { title: 'Where', value: 'web01', short: true },
            { title: 'By', value: 'admin', short: true },
            { title: 'Reason', value: 'because', short: false },
          ]),
          footer: 'Muster',
          ts: expect.any(Number),
        },
      ],
    });
  });
});

it('history goes with that of jobs, but not what is still to be sent', async () => {
  await hook('old');
  const [over, waiting] = [await ping('old'), await ping('old')];
  const { db } = api.services.database;
  await db.webhookDelivery.update({ where: { id: over }, data: { status: 'failed' } });
  await db.$executeRaw`update webhook_deliveries set created_at = now() - interval '91 days'`;
  const { signal } = new AbortController();
  const deleted = await deleteOldHistory(api.services.database, { days: 90, signal });
  expect(deleted.deliveries).toBe(1);
  expect((await must(api, 'GET', `${HOOKS}/old/deliveries`)).body.deliveries).toEqual([waiting]);
});

it('no secret is in the log, in deliveries or in the audit', async () => {
  await hook('quiet', { url: `${receiver.url}/a-secret-path?k=a-secret-key`, secret: SECRET });
  receiver.answer = 500;
  deliver();
  const id = await ping('quiet');
  await until('quiet', id, 'failed');
  const told = [
    logged(),
    JSON.stringify(await show('quiet', id)),
    (await must(api, 'GET', `${HOOKS}/quiet`)).text,
    (await must(api, 'GET', '/audit')).text,
  ].join('\n');
  for (const secret of ['a-secret-path', 'a-secret-key', SECRET]) {
    expect(told).not.toContain(secret);
  }
});
