import type { ErrorBody } from '../domain/errors.ts';
import { StepProgress } from '../domain/step-progress.ts';
import type { Db } from './database.ts';
import type { StepRow } from './deployments.ts';
import { Prisma } from './generated/client.ts';
import { fromJson } from './json.ts';

// Each statement here is for any number of steps: a batch has as many as there are servers in it, and they come together.

/** What a step begins with. */
export interface StepStart {
  readonly id: string;
  readonly fromCommit: string;
  readonly fromBuildId: string | null;
  readonly toCommit: string;
  /** Default: as it was. */
  readonly progress?: StepProgress;
}

/**
 * Begins steps, or takes them up again.
 * @throws {Error} if one has ended; then none of them was begun
 */
export async function startSteps(tx: Db, steps: readonly StepStart[]): Promise<void> {
  const values = steps.map(
    (step) =>
      Prisma.sql`(${step.id}::uuid, ${step.fromCommit}, ${step.fromBuildId}::uuid, ${step.toCommit}, ${jsonOrNull(step.progress)}::json)`,
  );
  const count = await tx.$executeRaw`
    update steps s
       set status = 'running', started_at = ${new Date()}, attempts = s.attempts + 1, from_commit = v.from_commit,
           from_build_id = v.from_build_id, to_commit = v.to_commit, progress = coalesce(v.progress, s.progress)
      from (values ${Prisma.join(values)}) as v (id, from_commit, from_build_id, to_commit, progress)
     where s.id = v.id and s.status in ('pending', 'running')`;
  if (count !== steps.length) throw new Error('a step that has ended was to begin');
}

/** How far a step has got; null if it has not begun, or has ended. */
export function progressOf(step: StepRow): StepProgress | null {
  return step.progress === null ? null : fromJson(StepProgress, step.progress);
}

/** Writes down how far steps have got. */
export async function saveStepsProgress(
  tx: Db,
  steps: readonly { readonly id: string; readonly progress: StepProgress }[],
): Promise<void> {
  const values = steps.map(
    ({ id, progress }) => Prisma.sql`(${id}::uuid, ${jsonOrNull(progress)}::json)`,
  );
  await tx.$executeRaw`
    update steps s set progress = v.progress
      from (values ${Prisma.join(values)}) as v (id, progress) where s.id = v.id`;
}

/** How a step ends. */
export interface StepEnd {
  readonly id: string;
  readonly status: 'succeeded' | 'failed' | 'skipped' | 'cancelled';
  readonly error?: ErrorBody;
  /** Default: as it was. */
  readonly logExcerpt?: string;
}

/** PostgreSQL takes at most 65,535 parameters in one statement. */
const ENDS_PER_STATEMENT = 10_000;

/** Ends steps. */
export async function finishSteps(tx: Db, steps: readonly StepEnd[]): Promise<void> {
  for (let i = 0; i < steps.length; i += ENDS_PER_STATEMENT) {
    await finishSome(tx, steps.slice(i, i + ENDS_PER_STATEMENT));
  }
}

async function finishSome(tx: Db, steps: readonly StepEnd[]): Promise<void> {
  const values = steps.map(
    ({ id, status, error, logExcerpt }) =>
      Prisma.sql`(${id}::uuid, ${status}::step_status, ${jsonOrNull(error)}::json, ${logExcerpt ?? null}::text)`,
  );
  await tx.$executeRaw`
    update steps s
       set status = v.status, finished_at = ${new Date()}, progress = null, error = v.error,
           log_excerpt = coalesce(v.log_excerpt, s.log_excerpt)
      from (values ${Prisma.join(values)}) as v (id, status, error, log_excerpt)
     where s.id = v.id`;
}

function jsonOrNull(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}
