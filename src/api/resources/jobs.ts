import type { z } from 'zod';
import type { Job, JobEvent, NamedJob } from '../../services/jobs.ts';
import type * as schemas from '../schemas/jobs.ts';
import { toStoredError } from './json.ts';
import { toTime, toTimeOrNull } from './time.ts';

/** The job as the reply of the request that started it shows it. */
export function toJobSummary(job: Job): z.infer<typeof schemas.JobSummary> {
  return {
    job_id: job.id,
    kind: job.kind,
    status: job.status,
    ...(job.status === 'succeeded' ? { result: job.result } : {}),
  };
}

/** A job without what it has told. */
export function toJob(job: NamedJob): Omit<z.infer<typeof schemas.Job>, 'results'> {
  const end = job.finishedAt ?? new Date();
  return {
    job_id: job.id,
    kind: job.kind,
    status: job.status,
    username: job.username,
    data: { ...job.shownData },
    created_datetime: toTime(job.createdAt),
    started_at: toTimeOrNull(job.startedAt),
    cancel_requested_at: toTimeOrNull(job.cancelRequestedAt),
    completed_datetime: toTimeOrNull(job.finishedAt),
    duration_in_seconds:
      job.startedAt === null ? null : Math.max(0, end.getTime() - job.startedAt.getTime()) / 1000,
    attempts: job.attempts,
    result: job.result,
    error: toStoredError(job.error),
  };
}

/** What a job has told, one after the other as it is read. */
export async function* toResults(
  events: AsyncIterable<JobEvent>,
): AsyncGenerator<z.infer<typeof schemas.JobResult>> {
  for await (const { id, createdAt, kind, data } of events) {
    yield { id: String(id), created_datetime: toTime(createdAt), kind, data };
  }
}
