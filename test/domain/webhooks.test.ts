import { describe, expect, it } from 'vitest';
import {
  DEFAULT_WEBHOOK_EVENTS,
  deafPatterns,
  deploymentEventOf,
  hearsOf,
  WEBHOOK_EVENTS,
} from '../../src/domain/webhook-events.ts';
import {
  linkOf,
  shownServers,
  toMessageError,
  type WebhookPayload,
} from '../../src/domain/webhook-payload.ts';
import { judgeDelivery, MAX_DELIVERY_ATTEMPTS } from '../../src/domain/webhook-retry.ts';
import { slackMessage } from '../../src/domain/webhook-slack.ts';

const PAYLOAD: WebhookPayload = {
  id: '4be0643f-1d98-573b-97cd-ca98a65347dd',
  event: 'deployment.failed',
  time: '2026-11-21T12:00:00.000Z',
  application: 'widgets',
  deployment: {
    id: '019f0c1e-6b11-7f2a-8c3d-0f3b5c7d9e1f',
    build: '2.0.0',
    username: 'ci',
    reason: 'for <!channel> & <https://evil.example|all>',
    status: 'failed',
    target: {
      style: 'group',
      environments: ['production'],
      groups: ['front'],
      gitdeploys: ['Web'],
      servers: ['web01', 'web02'],
      server_count: 2,
    },
    progress: { total: 2, done: 1, failed: 1, percent: 50 },
    created_datetime: '2026-11-21T11:57:30.000Z',
    started_at: '2026-11-21T11:57:55.000Z',
    finished_at: '2026-11-21T12:00:00.000Z',
    duration_in_seconds: 125,
    error: { code: 'deployment_failed', message: 'It was not deployed everywhere.' },
  },
  data: { status: 'failed' },
};

describe('the pauses between attempts', () => {
  const judge = (o: Partial<Parameters<typeof judgeDelivery>[0]>) =>
    judgeDelivery({
      number: 1,
      status: 500,
      retryAfterMs: null,
      baseMs: 15_000,
      random: 0,
      ...o,
    });

  it('grow fourfold, come to about a day together, and end with the eighth attempt', () => {
    const pauses = [];
    let number = 1;
    for (;;) {
      const verdict = judge({ number, status: null });
      if (verdict.verdict !== 'again') break;
      pauses.push(verdict.afterMs / 1000);
      number += 1;
    }
    expect(number).toBe(MAX_DELIVERY_ATTEMPTS);
    expect(pauses).toEqual([15, 60, 240, 960, 3840, 15_360, 61_440]);
    expect(pauses.reduce((sum, pause) => sum + pause) / 3600).toBeCloseTo(22.75, 1);
    expect(judge({ number })).toEqual({ verdict: 'failed' });
  });

  it('differ by chance, and heed what a receiver asks for, within reason', () => {
    expect(judge({ random: 1 })).toEqual({ verdict: 'again', afterMs: 18_000 });
    expect(judge({ status: 429, retryAfterMs: 90_000 })).toEqual({
      verdict: 'again',
      afterMs: 90_000,
    });
    expect(judge({ retryAfterMs: 1 })).toEqual({ verdict: 'again', afterMs: 15_000 });
    expect(judge({ retryAfterMs: 1e12 })).toEqual({ verdict: 'again', afterMs: 3_600_000 });
  });

  it.each([
    [200, 'delivered'],
    [204, 'delivered'],
    [299, 'delivered'],
    [301, 'again'],
    [404, 'again'],
    [410, 'gone'],
    [503, 'again'],
  ])('after %s: %s', (status, verdict) => {
    expect(judge({ status }).verdict).toBe(verdict);
  });
});

describe('the events of webhooks', () => {
  it('are the statuses of deployments under the names of what has happened', () => {
    const event = (kind: string, data: unknown) => deploymentEventOf({ kind, data });
    expect(event('deployment', { status: 'queued', build: 'b' })).toBe('deployment.created');
    expect(event('deployment', { status: 'queued', action: 'retry' })).toBe('deployment.retried');
    expect(event('deployment', { status: 'running' })).toBe('deployment.started');
    expect(event('deployment', { status: 'running', action: 'resume' })).toBe('deployment.resumed');
    expect(event('deployment', { status: 'rolled_back' })).toBe('deployment.rolled_back');
    expect(event('batch', { status: 'running' })).toBe('batch.started');
    expect(event('waiting', { kind: 'approval' })).toBe('deployment.waiting');
    for (const [kind, data] of [
      ['deployment', { pause: 'requested' }],
      ['deployment', { status: 'invented' }],
      ['output', { text: 'x', status: 'failed' }],
      ['step', { status: 'failed' }],
      ['deployment', null],
    ] as const) {
      expect([kind, event(kind, data)]).toEqual([kind, null]);
    }
    expect(WEBHOOK_EVENTS).toEqual(expect.arrayContaining([...DEFAULT_WEBHOOK_EVENTS]));
    expect(new Set(WEBHOOK_EVENTS).size).toBe(WEBHOOK_EVENTS.length);
  });

  it('are matched whole by patterns, in which the dot is a dot', () => {
    expect(hearsOf(['*'], 'deployment.failed')).toBe(true);
    expect(hearsOf(['deployment.*'], 'deployment.failed')).toBe(true);
    expect(hearsOf(['*.failed'], 'batch.failed')).toBe(true);
    expect(hearsOf(['deployment.fail'], 'deployment.failed')).toBe(false);
    expect(hearsOf(['deployment.rolled_back'], 'deployment.rolled_back')).toBe(true);
    expect(hearsOf(['deployment*failed'], 'deployment.failed')).toBe(true);
    expect(hearsOf(['build.'], 'buildx')).toBe(false);
    expect(deafPatterns(['batch.*', 'deployments.*', 'nothing'])).toEqual([
      'deployments.*',
      'nothing',
    ]);
  });
});

describe('a message', () => {
  it('links to where a person can look, if that is known', () => {
    const { deployment, ...about } = PAYLOAD;
    const build = { name: '2.0.0', state: 'stored', sha256: null, size_bytes: 1, error: null };
    const base = 'https://muster.example.com';
    expect(linkOf(PAYLOAD, null)).toBeNull();
    expect(linkOf(PAYLOAD, base)).toBe(`${base}/app/widgets/deployments/${deployment?.id}`);
    expect(linkOf({ ...about, build }, base)).toBe(`${base}/app/widgets/builds/2.0.0`);
    expect(linkOf(about, base)).toBeNull();
    expect(linkOf({ ...PAYLOAD, application: null }, base)).toBeNull();
  });

  it('on a server leads to the server, and says to people what is the matter', () => {
    const server = { name: 'web01', environment: 'production' };
    const gitdeploys = [
      { application: 'shop', gitdeploy: 'Web', path: '/opt/web', drift: 'moved' },
    ];
    const message = (event: string, error?: object): WebhookPayload => {
      const { id, time } = PAYLOAD;
      return { id, event, time, application: null, server, data: { gitdeploys, error } };
    };
    const base = 'https://muster.example.com';
    expect(linkOf(message('server.drifted'), base)).toBe(`${base}/server/web01`);
    expect(slackMessage(message('server.drifted'), null)).toMatchObject({
      text: 'web01 (production) is not as Muster left it',
      attachments: [
        { color: 'warning', fields: [{ title: 'Gitdeploys', value: 'shop Web: moved' }] },
      ],
    });
    const error = { code: 'server_unreachable', message: 'It does not answer.' };
    expect(slackMessage(message('server.unreachable', error), null)).toMatchObject({
      text: 'web01 (production) cannot be reached',
      attachments: [
        { color: 'danger', fields: [{ title: 'Gitdeploys' }, { value: 'It does not answer.' }] },
      ],
    });
    expect(slackMessage(message('server.reachable'), null).text).toBe(
      'web01 (production) can be reached again',
    );
  });

  it('names a hundred servers at most, and of errors what a person can read', () => {
    const servers = Array.from({ length: 101 }, (_, n) => `s${n}`);
    expect(shownServers(servers)).toEqual({ servers: servers.slice(0, 100), server_count: 101 });
    const error = { code: 'internal', message: 'It failed.' };
    expect(toMessageError({ ...error, details: { long: 'x' } })).toEqual(error);
    expect(toMessageError(null)).toBeNull();
    expect(toMessageError('of another kind')).toBeNull();
  });

  it('for people wakes no channel and links nowhere else', () => {
    const message = slackMessage(PAYLOAD, null);
    expect(message.text).toBe('widgets: deployment of 2.0.0 to production (front) failed');
    expect(message.attachments[0]?.fields).toEqual([
      { title: 'Application', value: 'widgets', short: true },
      { title: 'Build', value: '2.0.0', short: true },
      { title: 'Where', value: 'production (front)', short: true },
      { title: 'By', value: 'ci', short: true },
      { title: 'Took', value: '2 min 5 s', short: true },
      { title: 'Steps', value: '1 of 2, 1 failed', short: true },
      {
        title: 'Reason',
        value: 'for &lt;!channel&gt; &amp; &lt;https://evil.example|all&gt;',
        short: false,
      },
      { title: 'Error', value: 'It was not deployed everywhere.', short: false },
    ]);
    const batch = slackMessage({ ...PAYLOAD, event: 'batch.failed', data: { index: 1 } }, null);
    expect(batch.text).toBe('widgets: deployment of 2.0.0 to production (front), batch 2 failed');
  });
});
