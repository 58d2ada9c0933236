import { z } from 'zod';
import { APPROVE_CHOICES } from './approval.ts';

/** How a deployment runs. Source: API.md "Deployments". Durations in seconds. */
export const DeploymentOptions = z.object({
  rolling_divisor: z.number().int(),
  rolling_pause: z.number().int(),
  ordered_pause: z.number().int(),
  /** Servers that may fail before it stops. */
  max_failures: z.number().int(),
  /** What happens when it stops by failures: nothing more, or each server gets back what it had. */
  on_failure: z.enum(['stop', 'rollback']),
  /** Servers worked on at once. */
  concurrency: z.number().int(),
  /** How large the first batch is that shows how the build does: see `CANARY_PATTERN`. */
  canary: z.string().nullable().default(null),
  canary_pause: z.number().int().default(0),
  /** Where a user must say yes before it goes on. */
  approve: z.enum(APPROVE_CHOICES).default('none'),
  /** What it does about a server that cannot be reached: fail there, or leave it out, to catch up later. */
  unreachable: z.enum(['fail', 'skip']).default('fail'),
  /** What it does about deployments under way on the same pairs: wait for them, begin not at all, or take over. */
  on_conflict: z.enum(['queue', 'reject', 'supersede']).default('queue'),
  /** Whether it goes on in a freeze. */
  override_freeze: z.boolean().default(false),
});
export type DeploymentOptions = z.infer<typeof DeploymentOptions>;

/** What the operator asked for, by name, and what it came to. */
export const RecordedTarget = z.object({
  style: z.enum(['manual', 'group']),
  environments: z.array(z.string()),
  groups: z.array(z.string()),
  servers: z.array(z.string()),
  gitdeploys: z.array(z.string()),
});
export type RecordedTarget = z.infer<typeof RecordedTarget>;

/** How the files of a gitrepo branch change, with sizes in bytes. */
export const ChangedFiles = z.object({
  added: z.number().int(),
  modified: z.number().int(),
  deleted: z.number().int(),
  /** The first changed files, sorted by path; the counts above cover all of them. */
  files: z.array(
    z.object({
      path: z.string(),
      change: z.enum(['added', 'modified', 'deleted']),
      bytes: z.number(),
    }),
  ),
});
export type ChangedFiles = z.infer<typeof ChangedFiles>;
