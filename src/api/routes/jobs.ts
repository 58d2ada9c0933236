import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { type Access, GLOBAL_SCOPE, isAllowed } from '../../domain/permissions.ts';
import type { AuthenticatedCaller } from '../../services/authentication.ts';
import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/jobs.ts';
import { type StreamPlaces, sendEventStream } from '../event-stream.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toJob } from '../resources/jobs.ts';
import { Job, JobList } from '../schemas/jobs.ts';
import {
  EventStream,
  flag,
  HistoryQuery,
  JobPath,
  pageOf,
  StreamQuery,
  wait,
} from '../schemas/parameters.ts';
import { untilGone } from '../settle-job.ts';

const tags = ['jobs'];
const config = { permission: { scope: 'authenticated' } } as const;

/**
 * Callers see their own jobs and those of applications that they may read; who may read what all applications share
 * sees all. To cancel takes the same rights for writing.
 */
export function addJobRoutes(app: Api, context: ServiceContext, places: StreamPlaces): void {
  /** @throws {AppError} `not_found`, also if the caller may not know of it */
  const findVisible = async (caller: AuthenticatedCaller, id: string) => {
    const job = await service.getJob(context, id);
    if (!may(caller, 'read', job)) throw service.unknownJob(id);
    return job;
  };

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
      const visible = rows.filter((job) => may(caller, 'read', job));
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
      const job = await findVisible(callerOf(request), request.params.job);
      if (!request.query.results) return toJob(job);
      return toJob(job, await service.listJobResults(context, job.id));
    },
  });

  app.route({
    method: 'GET',
    url: '/job/:job/events',
    config,
    exposeHeadRoute: false,
    schema: {
      summary: 'Follow a job live',
      description:
        'Server-Sent Events: what the job tells, from the first event on or after a known one, then `end`.',
      tags,
      produces: ['text/event-stream'],
      params: JobPath,
      querystring: StreamQuery,
      response: { 200: EventStream },
    },
    handler: async (request, reply) => {
      const { id } = await findVisible(callerOf(request), request.params.job);
      return sendEventStream(request, reply, {
        places,
        after: request.query.after,
        open: (after, signal) => service.followJob(context, id, { after, signal }),
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/job/:job/cancel',
    config,
    schema: {
      summary: 'Cancel a job',
      description:
        'A queued job never starts, a running one is told to stop; it ends as `cancelled`. To cancel the job of a deployment is to cancel the deployment.',
      tags,
      params: JobPath,
      querystring: z.strictObject({ wait }),
      response: { 200: Job, 202: Job },
    },
    handler: async (request, reply) => {
      const caller = callerOf(request);
      const { id } = await findVisible(caller, request.params.job);
      if (!may(caller, 'write', await service.getJob(context, id))) throw notYours(id);
      const job = await service.cancelJob(context, caller, id);
      reply.code(202).header('location', `/job/${id}`);
      if (request.query.wait === undefined) return toJob(job);
      const seconds = request.query.wait;
      await untilGone(reply, (signal) => service.waitForJob(context, id, seconds, signal));
      const after = await service.getJob(context, id);
      if (after.finishedAt !== null) reply.code(200);
      return toJob(after);
    },
  });
}

function may(caller: AuthenticatedCaller, access: Access, job: service.NamedJob): boolean {
  const { permissions } = caller;
  if (job.username === caller.username || isAllowed(permissions, GLOBAL_SCOPE, access)) return true;
  return job.applicationName !== null && isAllowed(permissions, job.applicationName, access);
}

function notYours(id: string): AppError {
  return new AppError(
    'forbidden',
    `You may see job ${id} but not cancel it; ask who started it, or an administrator.`,
  );
}
