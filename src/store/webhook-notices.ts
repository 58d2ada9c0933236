import { randomUUID } from 'node:crypto';
import { RecordedTarget } from '../domain/deployment-options.ts';
import { computeProgress } from '../domain/deployment-state.ts';
import { buildEventOf, deploymentEventOf, hearsOf } from '../domain/webhook-events.ts';
import {
  type BuildPart,
  type DeploymentPart,
  shownServers,
  toMessageError,
  type WebhookPayload,
} from '../domain/webhook-payload.ts';
import type { Db } from './database.ts';
import { countSteps } from './deployments.ts';
import type { Deployment, WebhookDelivery } from './generated/client.ts';
import { fromJson, toJson } from './json.ts';

/** What is told to all workers when there is something to deliver. */
export const DELIVERY_TOPIC = 'webhook-deliveries';

/** An event as it is about to be appended to its stream. */
interface AppendedEvent {
  readonly jobId: string | null;
  readonly deploymentId: string | null;
  readonly kind: string;
  readonly data: unknown;
}

/** An event that webhooks can hear of, under the name that they know it by. */
interface Notice {
  readonly event: string;
  readonly data: unknown;
}

/** A webhook that may want to hear of something. */
interface Listening {
  readonly id: string;
  readonly events: string[];
  readonly application: string;
}

/**
 * Records what is to be delivered because of events of one stream.
 * @param tx the transaction that appends them
 * @returns whether there is anything to deliver
 */
export async function recordNotices(tx: Db, events: readonly AppendedEvent[]): Promise<boolean> {
  const [first] = events;
  const notices = noticesOf(events);
  if (first === undefined || notices.length === 0) return false;
  const { deploymentId, jobId } = first;
  if (deploymentId !== null) return recordDeploymentNotices(tx, deploymentId, notices);
  return jobId !== null && recordBuildNotices(tx, jobId, notices);
}

function noticesOf(events: readonly AppendedEvent[]): Notice[] {
  return events.flatMap((event) => {
    const name = event.deploymentId === null ? buildEventOf(event) : deploymentEventOf(event);
    return name === null ? [] : [{ event: name, data: event.data }];
  });
}

async function recordDeploymentNotices(
  tx: Db,
  deploymentId: string,
  notices: readonly Notice[],
): Promise<boolean> {
  // Held until the end of the transaction: one that is being deleted must not be written to.
  const listening = await tx.$queryRaw<Listening[]>`
    select w.id::text, w.events, a.name as application
      from deployments d
      join applications a on a.id = d.application_id
      join webhooks w on w.active and (w.application_id is null or w.application_id = a.id)
     where d.id = ${deploymentId}::uuid
       for key share of w`;
  if (!isHeard(listening, notices)) return false;
  const deployment = await tx.deployment.findUnique({ where: { id: deploymentId } });
  if (deployment === null) return false;
  const part = await describeDeployment(tx, deployment);
  return insertNotices(tx, listening, notices, { deployment: part });
}

async function recordBuildNotices(
  tx: Db,
  jobId: string,
  notices: readonly Notice[],
): Promise<boolean> {
  const listening = await tx.$queryRaw<(Listening & { buildId: string })[]>`
    select w.id::text, w.events, a.name as application, b.id::text as "buildId"
      from jobs j
      join builds b on b.id = (j.data ->> 'buildId')::uuid
      join applications a on a.id = b.application_id
      join webhooks w on w.active and (w.application_id is null or w.application_id = a.id)
     where j.id = ${jobId}::uuid and j.kind in ('store_build', 'fetch_build')
       for key share of w`;
  const [first] = listening;
  if (first === undefined || !isHeard(listening, notices)) return false;
  const row = await tx.build.findUnique({ where: { id: first.buildId } });
  if (row === null) return false;
  const build: BuildPart = {
    name: row.name,
    state: row.state,
    sha256: row.sha256,
    size_bytes: row.sizeBytes === null ? null : Number(row.sizeBytes),
    error: toMessageError(row.error),
  };
  return insertNotices(tx, listening, notices, { build });
}

function isHeard(listening: readonly Listening[], notices: readonly Notice[]): boolean {
  return listening.some(({ events }) => notices.some(({ event }) => hearsOf(events, event)));
}

async function insertNotices(
  tx: Db,
  listening: readonly Listening[],
  notices: readonly Notice[],
  about: Pick<WebhookPayload, 'deployment' | 'build'>,
): Promise<boolean> {
  const time = new Date().toISOString();
  const deliveries = notices.flatMap(({ event, data }) => {
    const id = randomUUID();
    const parts = { ...about, ...withStatusOf(event, data, about) };
    return listening
      .filter(({ events }) => hearsOf(events, event))
      .map(({ id: webhookId, application }) => ({
        webhookId,
        payload: { id, event, time, application, ...parts, data: Object(data) },
        resendOfId: null,
      }));
  });
  await insertDeliveries(tx, deliveries);
  return true;
}

/** The row may have moved on already by another event that is appended with this one. */
function withStatusOf(
  event: string,
  data: unknown,
  { deployment }: Pick<WebhookPayload, 'deployment'>,
): Pick<WebhookPayload, 'deployment'> {
  const { status }: { status?: unknown } = Object(data);
  if (deployment === undefined || typeof status !== 'string') return {};
  return event.startsWith('deployment.') ? { deployment: { ...deployment, status } } : {};
}

/** Stores messages that are to be sent as soon as may be. */
export function insertDeliveries(
  tx: Db,
  deliveries: readonly {
    readonly webhookId: string;
    readonly payload: WebhookPayload;
    readonly resendOfId: string | null;
  }[],
): Promise<WebhookDelivery[]> {
  return tx.webhookDelivery.createManyAndReturn({
    data: deliveries.map(({ webhookId, payload, resendOfId }) => ({
      webhookId,
      event: payload.event,
      payload: toJson(payload),
      resendOfId,
    })),
  });
}

async function describeDeployment(tx: Db, deployment: Deployment): Promise<DeploymentPart> {
  const { id, createdAt, startedAt, finishedAt } = deployment;
  const target = fromJson(RecordedTarget, deployment.target);
  const counts = await countSteps(tx, [id]);
  const end = finishedAt ?? new Date();
  return {
    id,
    build: deployment.buildName,
    username: deployment.username,
    reason: deployment.reason,
    status: deployment.status,
    target: {
      style: target.style,
      environments: target.environments,
      groups: target.groups,
      gitdeploys: target.gitdeploys,
      ...shownServers(target.servers),
    },
    progress: computeProgress(counts.get(id) ?? {}),
    created_datetime: createdAt.toISOString(),
    started_at: startedAt?.toISOString() ?? null,
    finished_at: finishedAt?.toISOString() ?? null,
    duration_in_seconds:
      startedAt === null ? null : Math.max(0, (end.getTime() - startedAt.getTime()) / 1000),
    error: toMessageError(deployment.error),
  };
}
