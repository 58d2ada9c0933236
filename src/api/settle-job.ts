import type { FastifyReply } from 'fastify';
import { AppError } from '../domain/errors.ts';
import type { ServiceContext } from '../services/context.ts';
import { type Job, waitForJob } from '../services/jobs.ts';
import { toJobSummary } from './resources/jobs.ts';
import { toStoredError } from './resources/json.ts';

export interface SettleOptions {
  readonly job: Job;
  /** From the query parameter `wait`; undefined does not wait. */
  readonly waitSeconds: number | undefined;
}

export interface SettledJob {
  /** The job as it stands after the wait, for the reply. */
  readonly summary: ReturnType<typeof toJobSummary>;
  /** True if it has succeeded. */
  readonly isDone: boolean;
  /** True if the reply was held, so that what the job works on is to be read again, be the job over or not. */
  readonly wasHeld: boolean;
}

/**
 * Makes the reply that of a started job: 202 with its `Location`; or, if the caller waits and the job succeeds in
 * time, 200. The wait ends early when the caller goes away or Muster stops.
 * @throws {AppError} the error of a job that failed; `conflict` if it was cancelled
 * Source: API.md, "Conventions".
 */
export async function settleJob(
  context: ServiceContext,
  reply: FastifyReply,
  { job, waitSeconds }: SettleOptions,
): Promise<SettledJob> {
  reply.code(202).header('location', `/job/${job.id}`);
  if (waitSeconds === undefined) {
    return { summary: toJobSummary(job), isDone: false, wasHeld: false };
  }
  const settled = await untilGone(reply, (signal) =>
    waitForJob(context, job.id, waitSeconds, signal),
  );
  const isDone = settled.status === 'succeeded';
  if (isDone) reply.code(200);
  throwIfFailed(settled);
  return { summary: toJobSummary(settled), isDone, wasHeld: true };
}

/** Waits for something with a signal that is aborted when the caller goes away or Muster stops. */
export async function untilGone<T>(
  reply: FastifyReply,
  waitFor: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const gone = new AbortController();
  const leave = (): void => gone.abort(new Error('the caller has gone away'));
  reply.raw.once('close', leave);
  try {
    return await waitFor(AbortSignal.any([gone.signal, reply.server.stopping]));
  } finally {
    reply.raw.off('close', leave);
  }
}

function throwIfFailed(job: Job): void {
  if (job.status === 'cancelled') {
    throw new AppError(
      'cancelled',
      'The job was cancelled; start it again if it is still wanted.',
      {
        details: { job_id: job.id },
      },
    );
  }
  if (job.status !== 'failed') return;
  const error = toStoredError(job.error);
  throw new AppError(error?.code ?? 'internal', error?.message ?? 'The job failed.', {
    details: { ...error?.details, job_id: job.id },
  });
}
