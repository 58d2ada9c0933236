import { z } from 'zod';
import { createdTime, next, StoredError, timeOrNull } from './common.ts';
import { eventId, flag } from './parameters.ts';

const JobStatus = z
  .enum(['queued', 'running', 'succeeded', 'failed', 'cancelled'])
  .meta({ description: 'How far the job is.' });

const result = z
  .unknown()
  .meta({ description: 'What the job has found or made; only once it has succeeded.' });

export const JobQuery = z
  .strictObject({
    results: flag('Also what it has told so far.').default(false),
    after: eventId(
      'With `results`: the id of the last result that is known; only later ones are sent.',
    ),
  })
  .refine(({ results, after }) => results || after === undefined, {
    path: ['after'],
    error: 'goes with `results=true`',
  });

/** A job as it stands in the reply of the request that started it. */
export const JobSummary = z
  .object({
    job_id: z.uuid().meta({ description: 'Ask for it at /job/{id}.' }),
    kind: z.string().meta({ description: 'What kind of work it is.' }),
    status: JobStatus,
    result: result.optional(),
  })
  .meta({ id: 'JobSummary', description: 'The job that does the work.' });

/** Something that a job has told. */
export const JobResult = z.object({
  id: z.string().meta({ description: 'Number of the event, as event streams give it.' }),
  created_datetime: createdTime,
  kind: z.string().meta({ description: 'What kind of event it is.' }),
  data: z.unknown().meta({ description: 'What happened.' }),
});

export const Job = z
  .object({
    job_id: z.uuid().meta({ description: 'Id of the job.' }),
    kind: z.string().meta({ description: 'What kind of work it is.' }),
    status: JobStatus,
    username: z.string().meta({ description: 'Who started it.' }),
    data: z
      .record(z.string(), z.unknown())
      .meta({ description: 'What it works on, by name; null for what has been deleted since.' }),
    created_datetime: createdTime,
    started_at: timeOrNull('When a worker first took it.'),
    cancel_requested_at: timeOrNull('When its end was asked for.'),
    completed_datetime: timeOrNull('When it ended.'),
    duration_in_seconds: z
      .number()
      .nullable()
      .meta({ description: 'From its start to its end, or to now; null before it starts.' }),
    attempts: z.number().int().meta({ description: 'How often a worker has taken it.' }),
    result,
    error: StoredError,
    results: z
      .array(JobResult)
      .optional()
      .meta({ description: 'What it has told so far, in order; with `results=true`.' }),
  })
  .meta({ id: 'Job', description: 'A piece of work that is done in the background.' });

export const JobList = z
  .object({
    jobs: z
      .union([z.array(z.string()), z.array(Job)])
      .meta({ description: 'Ids, newest first; with `details=true` objects.' }),
    next,
  })
  .meta({ id: 'JobList', description: 'Jobs.' });
