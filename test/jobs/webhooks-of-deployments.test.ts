import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startWebhookDeliverer, type WebhookDeliverer } from '../../src/jobs/deliver-webhooks.ts';
import { must } from '../api/shop.ts';
import { packTarGz } from '../support/archive.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.ts';
import { type ControlLab, startControlLab } from './control-lab.ts';

const HOOKS = '/app/shop/webhooks';

let lab: ControlLab;
let receiver: WebhookReceiver;
let deliverer: WebhookDeliverer;
beforeAll(async () => {
  lab = await startControlLab();
});
beforeEach(async () => {
  receiver = await startWebhookReceiver();
  const { config, database, listener, log } = lab.api.services;
  deliverer = startWebhookDeliverer({
    config: { ...config, webhooks: { ...config.webhooks, timeoutMs: 60_000 } },
    database,
    listener,
    log,
    version: '1.2.3',
  });
});
afterEach(async () => {
  await receiver.close();
  await deliverer.close();
  await lab.fail('s0', false);
  await lab.open();
  await lab.api.services.database.db.$executeRaw`truncate webhooks cascade`;
});
afterAll(() => lab.close());

const hook = (name: string, events: string[]) =>
  must(lab.api, 'PUT', `${HOOKS}?name=${name}`, { url: receiver.url, events });
/** In the order in which it happened, which is not always that in which it arrives. */
const heard = async (name: string): Promise<string[]> =>
  (await must(lab.api, 'GET', `${HOOKS}/${name}/deliveries?details=true`)).body.deliveries
    .map(({ event }: { event: string }) => event)
    .reverse();

describe('a deployment', { timeout: 180_000 }, () => {
  it('is told from its beginning to its end', async () => {
    await hook('all', ['*']);
    const id = await lab.deploy('b1');
    await lab.until(id, 'succeeded');
    expect(await heard('all')).toEqual([
      'deployment.created',
      'deployment.preparing',
      'deployment.started',
      'batch.started',
      'batch.succeeded',
      'batch.started',
      'batch.succeeded',
      'deployment.succeeded',
    ]);
    const messages = await receiver.until(8);
    const end = messages.find(({ json }) => json.event === 'deployment.succeeded');
    expect(end?.json.deployment).toMatchObject({
      id,
      status: 'succeeded',
      progress: { total: 4, done: 4, failed: 0, percent: 100 },
      finished_at: expect.any(String),
      duration_in_seconds: expect.any(Number),
      error: null,
    });
    const batch = messages.find(({ json }) => json.event === 'batch.succeeded');
    expect(batch?.json.data).toMatchObject({ phase: 'forward', index: expect.any(Number) });
  });

  it('is told to pause, to go on, to be cancelled and to be tried again', async () => {
    await hook('steps', ['deployment.*']);
    await lab.hold();
    const id = await lab.deploy('b2');
    await lab.until(id, 'running');
    await lab.act(id, 'pause');
    await lab.open();
    await lab.until(id, 'paused');
    await lab.hold();
    await lab.act(id, 'resume');
    await lab.act(id, 'cancel');
    await lab.until(id, 'cancelled');
    await lab.open();
    await lab.act(id, 'retry');
    await lab.until(id, 'succeeded');
    expect(await heard('steps')).toEqual([
      'deployment.created',
      'deployment.preparing',
      'deployment.started',
      'deployment.paused',
      'deployment.resumed',
      'deployment.cancelled',
      'deployment.retried',
      'deployment.preparing',
      'deployment.started',
      'deployment.succeeded',
    ]);
  });

  it('that fails says why, and that everything was put back', async () => {
    await lab.until(await lab.deploy('b1'), 'succeeded');
    await hook('ends', ['deployment.rolling_back', 'deployment.rolled_back']);
    await lab.fail('s0', true);
    await lab.until(await lab.deploy('b3', '&on_failure=rollback'), 'rolled_back');
    expect(await heard('ends')).toEqual(['deployment.rolling_back', 'deployment.rolled_back']);
    const messages = await receiver.until(2);
    for (const { json } of messages) {
      expect(json.deployment.error).toEqual({
        code: 'deployment_failed',
        message: expect.stringContaining('`Web` on `s0`'),
      });
    }
  });

  it('is not held up by receivers that hang, fail, redirect or cut the connection', async () => {
    await hook('all', ['*']);
    await hook('again', ['*']);
    receiver.answer = (reply) => {
      const kind = receiver.messages.length % 4;
      if (kind === 1) reply.writeHead(500).end();
      if (kind === 2) reply.writeHead(302, { location: receiver.url }).end();
      if (kind === 3) reply.destroy();
    };
    const id = await lab.deploy('b2');
    await lab.until(id, 'succeeded');
    const { deliveries } = (await must(lab.api, 'GET', `${HOOKS}/all/deliveries?status=delivered`))
      .body;
    expect(deliveries).toEqual([]);
  });
});

it('a build is told of when it is stored, and when it could not be', async () => {
  await hook('builds', ['build.*']);
  const upload = async (name: string, body: Buffer): Promise<number> => {
    await must(lab.api, 'PUT', `/app/shop/builds?build_name=${name}`);
    const url = `/app/shop/builds/${name}?file_type=tar.gz&wait=60`;
    const headers = { 'content-type': 'application/gzip' };
    return (await lab.api.call('POST', url, { body, headers })).status;
  };
  const archive = await packTarGz({ version: 'x' });
  expect(await upload('good', archive)).toBe(200);
  // Its end is missing, which only whoever reads it finds out.
  expect(await upload('bad', archive.subarray(0, archive.length / 2))).toBe(422);
  expect(await heard('builds')).toEqual(['build.stored', 'build.failed']);
  const messages = await receiver.until(2);
  const bodyOf = (event: string) => messages.find(({ json }) => json.event === event)?.json;
  expect(bodyOf('build.stored')).toMatchObject({
    application: 'shop',
    build: { name: 'good', state: 'stored', sha256: expect.any(String), error: null },
  });
  expect(bodyOf('build.failed')).toMatchObject({
    build: { name: 'bad', state: 'failed', error: { code: 'archive_broken' } },
  });
});
