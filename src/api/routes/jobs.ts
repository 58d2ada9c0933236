import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { GLOBAL_SCOPE, isAllowed } from '../../domain/permissions.ts';
import type { AuthenticatedCaller } from '../../services/authentication.ts';
import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/jobs.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toJob } from '../resources/jobs.ts';
import { Job, JobList } from '../schemas/jobs.ts';
import { flag, HistoryQuery, JobPath, pageOf } from '../schemas/parameters.ts';

const tags = ['jobs'];
const config = { permission: { scope: 'authenticated' } } as const;

/** Callers see their own jobs; who may read what all applications share sees all. */
export function addJobRoutes(app: Api, context: ServiceContext): void {
  app.route({
    method: 'GET',
    url: '/job',
    config,
    schema: {
      summary: 'List jobs, newest first',
      tags,
      querystring: HistoryQuery.extend({
        active: flag('Only jobs that are queued or running.').default(false),
      }),
      response: { 200: JobList },
    },
    handler: async (request) => {
      const caller = callerOf(request);
      const { active, details } = request.query;
      const { rows, next } = await service.listJobs(context, { active, ...pageOf(request.query) });
      const visible = rows.filter((job) => maySee(caller, job));
      return {
        jobs: details ? visible.map((job) => toJob(job)) : visible.map(({ id }) => id),
        ...(next === null ? {} : { next }),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/job/:job',
    config,
    schema: {
      summary: 'Show a job',
      tags,
      params: JobPath,
      querystring: z.strictObject({
        results: flag('Also what it has told so far.').default(false),
      }),
      response: { 200: Job },
    },
    handler: async (request) => {
      const job = await service.getJob(context, request.params.job);
      if (!maySee(callerOf(request), job)) throw unknownJob(job.id);
      if (!request.query.results) return toJob(job);
      return toJob(job, await service.listJobResults(context, job.id));
    },
  });
}

function maySee(caller: AuthenticatedCaller, job: service.Job): boolean {
  return job.username === caller.username || isAllowed(caller.permissions, GLOBAL_SCOPE, 'read');
}

function unknownJob(id: string): AppError {
  return new AppError('not_found', `There is no job ${id}; GET /job lists the jobs.`);
}
