import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ControlLab, startControlLab } from './control-lab.ts';

const WAIT = { timeout: 60_000 };
const ONE = { servers: ['s0'], gitdeploys: ['Web'] };
const QUICK = { interval: 0.1, within: 2, timeout: 1 };

let lab: ControlLab;
let web: Server;
let port: number;
/** How what is deployed answers, and how often it was asked. */
let answer: { status: number; body: string; afterAsking?: number };
let asked: number;

beforeAll(async () => {
  lab = await startControlLab();
  web = createServer((request, response) => {
    asked += 1;
    if (request.url === '/slow') return;
    const isReady = asked > (answer.afterAsking ?? 0);
    response.writeHead(isReady ? answer.status : 503);
    response.end(isReady ? answer.body : 'starting');
  });
  web.listen(0, '127.0.0.1');
  await once(web, 'listening');
  const address = web.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
afterAll(async () => {
  web.closeAllConnections();
  web.close();
  await lab.close();
});
beforeEach(async () => {
  answer = { status: 200, body: 'fine' };
  await lookAt([]);
  await lab.until(await lab.deploy('b1', '', ONE), 'succeeded');
  asked = 0;
});

async function lookAt(checks: object[]): Promise<void> {
  const changed = await lab.api.call('PATCH', '/app/shop/gitdeploys/Web', {
    body: { health_checks: checks },
  });
  expect(changed.status, changed.text).toBe(200);
}
const end = async (id: string) => {
  await expect.poll(async () => (await lab.show(id)).finished_at, WAIT).not.toBeNull();
  return (await lab.show(id)).batches[0].steps[0];
};

describe('a health check', () => {
  it('is waited for until it goes well as often in a row as asked', async () => {
    answer = { status: 200, body: 'fine', afterAsking: 3 };
    await lookAt([
      {
        type: 'http',
        port,
        path: '/healthz',
        body: 'fine',
        healthy_after: 2,
        ...QUICK,
        within: 60,
      },
      { type: 'tcp', port, from: 'worker', ...QUICK },
      { type: 'command', command: 'test "$(cat version)" = b2', ...QUICK },
    ]);
    const step = await end(await lab.deploy('b2', '', ONE));
    expect(step.status).toBe('succeeded');
    expect(asked).toBe(5);
    expect(step.log_excerpt).toContain('status 503');
    expect(step.log_excerpt).toMatch(/check: http .* went well after 5 looks/);
    expect(step.log_excerpt).toMatch(/check: command .* went well after one look/);
  });

  it.each([
    ['another status', () => ({ type: 'http', port }), () => (answer.status = 500), 'status 500'],
    [
      'another body',
      () => ({ type: 'http', port, from: 'worker', body: 'v2' }),
      () => undefined,
      '`v2` is not in the body',
    ],
    [
      'an answer that does not come',
      () => ({ type: 'http', port, path: '/slow', timeout: 0.2 }),
      () => undefined,
      'no answer within 0.2 seconds',
    ],
    [
      'a port that is closed',
      () => ({ type: 'tcp', port: 1 }),
      () => undefined,
      'takes no connection',
    ],
    [
      'a command that fails',
      () => ({ type: 'command', command: 'echo not yet; exit 3' }),
      () => undefined,
      'exit code 3: not yet',
    ],
    [
      'a command that hangs',
      () => ({ type: 'command', command: 'sleep 60', timeout: 0.2 }),
      () => undefined,
      'no end within 0.2 seconds',
    ],
    [
      'plain HTTP where TLS was expected',
      () => ({ type: 'http', scheme: 'https', port }),
      () => undefined,
      'no answer',
    ],
  ])('fails the step with %s, and puts the server back', async (_what, check, spoil, seen) => {
    spoil();
    await lookAt([{ ...QUICK, ...check() }]);
    const step = await end(await lab.deploy('b2', '', ONE));
    expect(step).toMatchObject({ status: 'failed', error: { code: 'unhealthy' } });
    expect(step.error.message).toContain(seen);
    expect(await lab.versionOn('s0')).toBe('b1');
    expect((await lab.census())['s0']?.deployed).toBe('b1');
  });

  it('does not hold back who cancels', async () => {
    await lookAt([{ type: 'http', port, status: 418, interval: 0.1, within: 3600 }]);
    const id = await lab.deploy('b2', '', ONE);
    await expect.poll(() => asked, WAIT).toBeGreaterThan(1);
    expect((await lab.act(id, 'cancel', '?wait=60')).body.status).toBe('cancelled');
    expect(await lab.versionOn('s0')).toBe('b1');
  });

  it('is shown as it was given, with its defaults, and refused when it means nothing', async () => {
    await lookAt([{ type: 'tcp', port: 80 }]);
    const { body } = await lab.api.call('GET', '/app/shop/gitdeploys/Web');
    expect(body.health_checks).toEqual([
      {
        type: 'tcp',
        port: 80,
        from: 'server',
        interval: 2,
        timeout: 5,
        healthy_after: 1,
        within: 60,
      },
    ]);
    for (const [check, message] of [
      [{ type: 'ping' }, '`health_checks.0.type` must be `http`, `tcp` or `command`'],
      [{ type: 'tcp' }, '`health_checks.0.port`'],
      [{ type: 'tcp', port: 80, intervall: 1 }, '`interval`'],
      [{ type: 'http', port: 80, path: 'healthz' }, 'must begin with `/`'],
    ] as const) {
      const refused = await lab.api.call('PATCH', '/app/shop/gitdeploys/Web', {
        body: { health_checks: [check] },
      });
      expect(refused.status).toBe(400);
      expect(refused.body.error.message).toContain(message);
    }
  });
});
