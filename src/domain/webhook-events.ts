import { DEPLOYMENT_STATUSES } from './deployment-state.ts';

/**
 * The events that webhooks can hear of. `deployment.created`, `.started`, `.resumed` and `.retried` are told by what
 * led there, all other events of a deployment by the status that it has reached. Those of servers: `ServerNotice`.
 */
export const WEBHOOK_EVENTS: readonly string[] = [
  'deployment.created',
  'deployment.waiting',
  'deployment.started',
  'deployment.resumed',
  'deployment.retried',
  ...DEPLOYMENT_STATUSES.filter((status) => status !== 'queued' && status !== 'running').map(
    (status) => `deployment.${status}`,
  ),
  'batch.started',
  'batch.succeeded',
  'batch.failed',
  'build.stored',
  'build.failed',
  'server.unreachable',
  'server.reachable',
  'server.drifted',
];

/** What a webhook hears of unless it says otherwise: how each deployment ended. */
export const DEFAULT_WEBHOOK_EVENTS: readonly string[] = [
  'deployment.succeeded',
  'deployment.failed',
  'deployment.cancelled',
  'deployment.rolled_back',
];

/** Sent when a user asks for it, whatever the webhook hears of otherwise. */
export const PING_EVENT = 'ping';

/** An event of a stream as far as it is looked at here. */
export interface ToldEvent {
  readonly kind: string;
  readonly data: unknown;
}

/** By which event a deployment's status is told, where that is not called as the status. */
const BY_STATUS: Readonly<Record<string, string>> = {
  queued: 'deployment.created',
  running: 'deployment.started',
};
/** The same where a user has asked for it. */
const BY_ACTION: Readonly<Record<string, string>> = {
  resume: 'deployment.resumed',
  retry: 'deployment.retried',
};

/**
 * What webhooks hear of when something happens to a deployment.
 * @returns one of `WEBHOOK_EVENTS`, or null for what only the deployment's own stream tells
 */
export function deploymentEventOf({ kind, data }: ToldEvent): string | null {
  const event = nameOf(kind, data);
  return event !== null && WEBHOOK_EVENTS.includes(event) ? event : null;
}

function nameOf(kind: string, data: unknown): string | null {
  const { status, action }: { status?: unknown; action?: unknown } = Object(data);
  if (kind === 'waiting') return 'deployment.waiting';
  if (typeof status !== 'string') return null;
  if (kind === 'batch') return status === 'running' ? 'batch.started' : `batch.${status}`;
  if (kind !== 'deployment') return null;
  return BY_ACTION[String(action)] ?? BY_STATUS[status] ?? `deployment.${status}`;
}

/** What webhooks hear of when a job ends that stores a build; null if it is about something else. */
export function buildEventOf({ kind }: ToldEvent): string | null {
  switch (kind) {
    case 'job_succeeded':
      return 'build.stored';
    case 'job_failed':
    case 'job_cancelled':
      return 'build.failed';
    default:
      return null;
  }
}

/** Whether one of the patterns is for the event: `*` stands for any characters, all else for itself. */
export function hearsOf(patterns: readonly string[], event: string): boolean {
  return patterns.some((pattern) => {
    const parts = pattern.split('*').map((part) => part.replaceAll('.', '\\.'));
    return new RegExp(`^${parts.join('.*')}$`).test(event);
  });
}

/** What a pattern of events may look like. */
export const EVENT_PATTERN = /^[a-z_.*]{1,64}$/;

/** The patterns that no event matches, so that nothing would ever be heard of by them. */
export function deafPatterns(patterns: readonly string[]): string[] {
  return patterns.filter((pattern) => !WEBHOOK_EVENTS.some((event) => hearsOf([pattern], event)));
}
