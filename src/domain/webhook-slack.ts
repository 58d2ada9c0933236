import { z } from 'zod';
import { shortened } from './quoted.ts';
import { linkOf, type WebhookPayload } from './webhook-payload.ts';

/** Each is a color that Slack, Mattermost and Rocket.Chat all know. */
const COLORS: Readonly<Record<string, string>> = {
  succeeded: 'good',
  stored: 'good',
  failed: 'danger',
  cancelled: 'warning',
  paused: 'warning',
  waiting: 'warning',
  rolling_back: 'warning',
  rolled_back: 'warning',
  unreachable: 'danger',
  reachable: 'good',
  drifted: 'warning',
};

interface Field {
  readonly title: string;
  readonly value: string;
  readonly short: boolean;
}

/** What an incoming webhook of Slack takes. */
export interface SlackMessage {
  /** What notifications show. */
  readonly text: string;
  /** Not `blocks`: those are not understood by what is only compatible with Slack. */
  readonly attachments: readonly {
    readonly color: string;
    readonly fallback: string;
    readonly fields: readonly Field[];
    readonly footer: string;
    readonly ts: number;
  }[];
}

/** A message for people: what happened to which build of which application, where, by whom, and how long it took. */
export function slackMessage(payload: WebhookPayload, publicUrl: string | null): SlackMessage {
  const text = headline(payload);
  const link = linkOf(payload, publicUrl);
  const [, outcome = ''] = payload.event.split('.');
  return {
    text: link === null ? text : `${text} <${link}|Details>`,
    attachments: [
      {
        color: COLORS[outcome] ?? '#888888',
        fallback: text,
        fields: fieldsOf(payload),
        footer: 'Muster',
        ts: Math.floor(Date.parse(payload.time) / 1000),
      },
    ],
  };
}

function headline({ event, application, deployment, build, server, data }: WebhookPayload): string {
  const [noun = '', outcome = ''] = event.split('.');
  const happened = outcome.replaceAll('_', ' ');
  if (deployment !== undefined) {
    const batch = noun === 'batch' ? `, batch ${Number(data['index']) + 1}` : '';
    const what = `${application ?? ''}: deployment of ${deployment.build} to ${placeOf(deployment.target)}${batch}`;
    return escaped(`${what} ${noun === 'batch' ? happened : inWords(happened)}`);
  }
  if (build !== undefined) return escaped(`${application ?? ''}: build ${build.name} ${happened}`);
  if (server !== undefined)
    return escaped(`${server.name} (${server.environment}) ${found(outcome)}`);
  return 'Muster can reach this channel.';
}

/** What was found out about a server. */
function found(outcome: string): string {
  switch (outcome) {
    case 'unreachable':
      return 'cannot be reached';
    case 'reachable':
      return 'can be reached again';
    default:
      return 'is not as Muster left it';
  }
}

/** What reads badly after "deployment of … to …". */
function inWords(happened: string): string {
  switch (happened) {
    case 'waiting':
      return 'waits for another one';
    case 'preparing':
    case 'rolling back':
      return `is ${happened}`;
    default:
      return happened;
  }
}

type Target = NonNullable<WebhookPayload['deployment']>['target'];

function placeOf({ environments, groups, servers, server_count: count }: Target): string {
  if (environments.length > 0) return `${environments.join(', ')} (${groups.join(', ')})`;
  const named = servers.slice(0, 3).join(', ');
  return count > 3 ? `${named} and ${count - 3} more servers` : named;
}

function fieldsOf({ application, deployment, build, server, data }: WebhookPayload): Field[] {
  const told = server === undefined ? null : ServerData.parse(data);
  const all: [title: string, value: string | null, short: boolean][] = [
    ['Application', application, true],
    ['Build', deployment?.build ?? build?.name ?? null, true],
    ['Where', deployment === undefined ? null : placeOf(deployment.target), true],
    ['By', deployment?.username ?? null, true],
    ['Took', durationOf(deployment?.duration_in_seconds ?? null), true],
    ['Steps', deployment === undefined ? null : stepsOf(deployment.progress), true],
    ['Gitdeploys', told === null ? null : gitdeploysOf(told), false],
    ['Reason', deployment?.reason ?? null, false],
    [
      'Error',
      deployment?.error?.message ?? build?.error?.message ?? told?.error?.message ?? null,
      false,
    ],
  ];
  return all.flatMap(([title, value, short]) =>
    value === null || value === '' ? [] : [{ title, value: escaped(value), short }],
  );
}

/** What a message on a server tells, as far as people are told. */
const ServerData = z.object({
  gitdeploys: z.array(
    z.object({ application: z.string(), gitdeploy: z.string(), drift: z.string() }),
  ),
  error: z.object({ message: z.string() }).nullish(),
});

function gitdeploysOf({ gitdeploys }: z.infer<typeof ServerData>): string {
  return gitdeploys.map((one) => `${one.application} ${one.gitdeploy}: ${one.drift}`).join(', ');
}

function stepsOf({ total, done, failed }: { total: number; done: number; failed: number }): string {
  return `${done} of ${total}${failed === 0 ? '' : `, ${failed} failed`}`;
}

function durationOf(seconds: number | null): string | null {
  if (seconds === null) return null;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${Math.round(seconds)} s`;
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** As Slack wants it, so that no text becomes a link or wakes a channel. Source: "Formatting text", api.slack.com. */
function escaped(text: string): string {
  return shortened(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
