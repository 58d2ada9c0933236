import { createHmac } from 'node:crypto';
import { z } from 'zod';

/** Names of servers in one message at most; `server_count` tells how many there are. */
const MAX_SERVERS = 100;

const StoredError = z.object({ code: z.string(), message: z.string() }).nullable();

/** What a message says of its deployment. Source: docs/webhooks.md. */
const DeploymentPart = z.object({
  id: z.string(),
  build: z.string(),
  username: z.string(),
  reason: z.string().nullable(),
  status: z.string(),
  target: z.object({
    style: z.string(),
    environments: z.array(z.string()),
    groups: z.array(z.string()),
    gitdeploys: z.array(z.string()),
    servers: z.array(z.string()),
    server_count: z.number(),
  }),
  progress: z.object({
    total: z.number(),
    done: z.number(),
    failed: z.number(),
    percent: z.number(),
  }),
  created_datetime: z.string(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  duration_in_seconds: z.number().nullable(),
  error: StoredError,
});
export type DeploymentPart = z.infer<typeof DeploymentPart>;

const BuildPart = z.object({
  name: z.string(),
  state: z.string(),
  sha256: z.string().nullable(),
  size_bytes: z.number().nullable(),
  error: StoredError,
});
export type BuildPart = z.infer<typeof BuildPart>;

const ServerPart = z.object({ name: z.string(), environment: z.string() });

/**
 * A message as it is stored, and sent to webhooks of the kind `webhook`. `id` is that of the occurrence: all webhooks
 * that hear of it, and whatever is sent again, have the same one.
 */
export const WebhookPayload = z.object({
  id: z.string(),
  event: z.string(),
  time: z.string(),
  application: z.string().nullable(),
  deployment: DeploymentPart.optional(),
  build: BuildPart.optional(),
  server: ServerPart.optional(),
  /** The data of the event, as the deployment's stream has it; of a server, which installations it is about. */
  data: z.record(z.string(), z.unknown()),
});
export type WebhookPayload = z.infer<typeof WebhookPayload>;

/** The error of a row as messages have it: without its details, which can be long. Null if there is none. */
export function toMessageError(column: unknown): z.infer<typeof StoredError> {
  // Whatever stands in the row, it must not keep the event from being told.
  return StoredError.catch(null).parse(column ?? null);
}

/** The parts of a target's servers that go into a message. */
export function shownServers(servers: readonly string[]): {
  servers: string[];
  server_count: number;
} {
  return { servers: servers.slice(0, MAX_SERVERS), server_count: servers.length };
}

/** Where a person can look at what a message is about; null without a public URL, or if there is nothing to look at. */
export function linkOf(payload: WebhookPayload, publicUrl: string | null): string | null {
  const { application, deployment, build, server } = payload;
  if (publicUrl !== null && server !== undefined) return `${publicUrl}/server/${server.name}`;
  if (publicUrl === null || application === null) return null;
  const base = `${publicUrl}/app/${application}`;
  if (deployment !== undefined) return `${base}/deployments/${deployment.id}`;
  return build === undefined ? null : `${base}/builds/${build.name}`;
}

/**
 * The header by which a receiver knows that a message is from Muster and was not changed.
 * Source: GitHub's webhooks, `X-Hub-Signature-256`.
 * @param body exactly the bytes that are sent
 */
export function signatureOf(body: string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body, 'utf8').digest('hex')}`;
}
