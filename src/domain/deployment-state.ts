import { AppError } from './errors.ts';

export const DEPLOYMENT_STATUSES = [
  'queued',
  'preparing',
  'running',
  'paused',
  'succeeded',
  'failed',
  'cancelled',
  'rolling_back',
  'rolled_back',
] as const;
export type DeploymentStatus = (typeof DEPLOYMENT_STATUSES)[number];

/** What may happen to a deployment. `pause`, `resume`, `cancel`, `retry` and `rollback` are asked for by a user; the rest is told by a worker. */
export const DEPLOYMENT_TRIGGERS = [
  'prepare',
  'start',
  'succeed',
  'fail',
  'pause',
  'resume',
  'cancel',
  'retry',
  'rollback',
  'rollback_on_failure',
  'finish_rollback',
] as const;
export type DeploymentTrigger = (typeof DEPLOYMENT_TRIGGERS)[number];

/** Batches and steps share one life. */
export const WORK_STATUSES = [
  'pending',
  'running',
  'succeeded',
  'failed',
  'skipped',
  'cancelled',
] as const;
export type BatchStatus = (typeof WORK_STATUSES)[number];
export type StepStatus = (typeof WORK_STATUSES)[number];

export const WORK_TRIGGERS = ['start', 'succeed', 'fail', 'skip', 'cancel', 'retry'] as const;
export type WorkTrigger = (typeof WORK_TRIGGERS)[number];

export interface Transition<Status extends string, Trigger extends string> {
  readonly from: Status;
  readonly event: Trigger;
  readonly to: Status;
}

/** The life of one kind of thing, as data; the pictures in docs/ are drawn from it. */
export interface Lifecycle<Status extends string, Trigger extends string> {
  readonly noun: string;
  readonly initial: Status;
  /** Nothing is under way any more; only a user's `retry` or `rollback` leads out. */
  readonly final: readonly Status[];
  /** At most one per `from` and `event`. */
  readonly transitions: readonly Transition<Status, Trigger>[];
}

/**
 * A pause is between batches, so steps that were running when it was asked for still end: therefore a paused
 * deployment may fail, or succeed if that was its last batch. Source: API.md, "Deployments".
 */
export const deploymentLifecycle: Lifecycle<DeploymentStatus, DeploymentTrigger> = {
  noun: 'deployment',
  initial: 'queued',
  final: ['succeeded', 'failed', 'cancelled', 'rolled_back'],
  transitions: [
    { from: 'queued', event: 'prepare', to: 'preparing' },
    { from: 'queued', event: 'fail', to: 'failed' },
    { from: 'queued', event: 'cancel', to: 'cancelled' },
    { from: 'preparing', event: 'start', to: 'running' },
    { from: 'preparing', event: 'fail', to: 'failed' },
    { from: 'preparing', event: 'cancel', to: 'cancelled' },
    { from: 'running', event: 'succeed', to: 'succeeded' },
    { from: 'running', event: 'fail', to: 'failed' },
    { from: 'running', event: 'pause', to: 'paused' },
    { from: 'running', event: 'cancel', to: 'cancelled' },
    { from: 'running', event: 'rollback_on_failure', to: 'rolling_back' },
    { from: 'paused', event: 'resume', to: 'running' },
    { from: 'paused', event: 'succeed', to: 'succeeded' },
    { from: 'paused', event: 'fail', to: 'failed' },
    { from: 'paused', event: 'cancel', to: 'cancelled' },
    { from: 'paused', event: 'rollback', to: 'rolling_back' },
    { from: 'paused', event: 'rollback_on_failure', to: 'rolling_back' },
    { from: 'succeeded', event: 'rollback', to: 'rolling_back' },
    { from: 'failed', event: 'retry', to: 'queued' },
    { from: 'failed', event: 'rollback', to: 'rolling_back' },
    { from: 'cancelled', event: 'retry', to: 'queued' },
    { from: 'cancelled', event: 'rollback', to: 'rolling_back' },
    { from: 'rolling_back', event: 'finish_rollback', to: 'rolled_back' },
    { from: 'rolling_back', event: 'fail', to: 'failed' },
  ],
};

/** `skipped` is what never ran because the deployment had failed before; `cancelled` is what a user stopped. */
const workTransitions: readonly Transition<StepStatus, WorkTrigger>[] = [
  { from: 'pending', event: 'start', to: 'running' },
  { from: 'pending', event: 'skip', to: 'skipped' },
  { from: 'pending', event: 'cancel', to: 'cancelled' },
  { from: 'running', event: 'succeed', to: 'succeeded' },
  { from: 'running', event: 'fail', to: 'failed' },
  { from: 'running', event: 'cancel', to: 'cancelled' },
  { from: 'failed', event: 'retry', to: 'pending' },
  { from: 'skipped', event: 'retry', to: 'pending' },
  { from: 'cancelled', event: 'retry', to: 'pending' },
];

const finalWorkStatuses = ['succeeded', 'failed', 'skipped', 'cancelled'] as const;

export const batchLifecycle: Lifecycle<BatchStatus, WorkTrigger> = {
  noun: 'batch',
  initial: 'pending',
  final: finalWorkStatuses,
  transitions: workTransitions,
};

export const stepLifecycle: Lifecycle<StepStatus, WorkTrigger> = {
  noun: 'step',
  initial: 'pending',
  final: finalWorkStatuses,
  transitions: workTransitions,
};

/** Where the event leads, or null if it cannot happen in this status. */
export function nextStatus<Status extends string, Trigger extends string>(
  lifecycle: Lifecycle<Status, Trigger>,
  from: Status,
  event: Trigger,
): Status | null {
  const found = lifecycle.transitions.find((row) => row.from === from && row.event === event);
  return found?.to ?? null;
}

export function canTransition<Status extends string, Trigger extends string>(
  lifecycle: Lifecycle<Status, Trigger>,
  from: Status,
  event: Trigger,
): boolean {
  return nextStatus(lifecycle, from, event) !== null;
}

/**
 * Where the event leads.
 * @throws {AppError} `conflict` if it cannot happen in this status, naming the events that can
 */
export function transition<Status extends string, Trigger extends string>(
  lifecycle: Lifecycle<Status, Trigger>,
  from: Status,
  event: Trigger,
): Status {
  const to = nextStatus(lifecycle, from, event);
  if (to !== null) return to;
  const allowedFrom = lifecycle.transitions.filter((row) => row.event === event).map((r) => r.from);
  const { noun } = lifecycle;
  throw new AppError(
    'conflict',
    `The ${noun} is ${inWords(from)}, so \`${event}\` is not possible now; it is when the ${noun} is ${allowedFrom.map(inWords).join(' or ')}.`,
    { details: { status: from, event, allowed_from: allowedFrom } },
  );
}

/** True if nothing is under way any more in this status. */
export function isFinal<Status extends string, Trigger extends string>(
  lifecycle: Lifecycle<Status, Trigger>,
  status: Status,
): boolean {
  return lifecycle.final.includes(status);
}

export interface Progress {
  readonly total: number;
  /** Steps that ran to their end, well or not. */
  readonly done: number;
  /** Those of `done` that failed. */
  readonly failed: number;
  /** Of `done` in `total`, 0 to 100, rounded down: 100 is said only when every step has run. */
  readonly percent: number;
}

/**
 * How far a deployment is. Skipped and cancelled steps never ran, so a deployment that stopped early stays below 100.
 * Without steps, as before the plan is made, it is 0.
 */
export function computeProgress(counts: Readonly<Partial<Record<StepStatus, number>>>): Progress {
  const total = WORK_STATUSES.reduce((sum, status) => sum + (counts[status] ?? 0), 0);
  const failed = counts.failed ?? 0;
  const done = failed + (counts.succeeded ?? 0);
  return { total, done, failed, percent: total === 0 ? 0 : Math.floor((done * 100) / total) };
}

function inWords(status: string): string {
  return status.replaceAll('_', ' ');
}
