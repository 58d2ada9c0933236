import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import type { AuthenticatedCaller } from '../../services/authentication.ts';
import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/jobs.ts';
import { type StreamPlaces, sendEventStream } from '../event-stream.ts';
import type { Api } from '../fastify-types.ts';
import { sendJsonStream } from '../json-stream.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toJob, toResults } from '../resources/jobs.ts';
import { Job, JobList, JobQuery } from '../schemas/jobs.ts';
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

/** Who may see and cancel which job is said by `mayDoWithJob`; what may not be seen is not there. */
export function addJobRoutes(app: Api, context: ServiceContext, places: StreamPlaces): void {
  /** @throws {AppError} `not_found`, also if the caller may not know of it */
  const findVisible = async (caller: AuthenticatedCaller, id: string) => {
    const job = await service.getJob(context, id);
    if (!service.mayDoWithJob(caller, 'read', job)) throw service.unknownJob(id);
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
      const page = pageOf(request.query);
      const { rows, next } = await service.listJobs(context, caller, { active, ...page });
      return {
        jobs: details ? rows.map((job) => toJob(job)) : rows.map(({ id }) => id),
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
      description:
        'The results are sent as they are read, however many there are. `after` leaves out those that are known.',
      params: JobPath,
      querystring: JobQuery,
      response: { 200: Job },
    },
    handler: async (request, reply) => {
      const job = await findVisible(callerOf(request), request.params.job);
      const { results, after = '0' } = request.query;
      if (!results) return toJob(job);
      const events = service.readJobResults(context, job.id, BigInt(after));
      await sendJsonStream(reply, { ...toJob(job), results: toResults(events) });
      return reply;
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
      const asked = await service.getJob(context, request.params.job);
      const { id } = asked;
      if (!service.mayDoWithJob(caller, 'write', asked)) {
        throw service.mayDoWithJob(caller, 'read', asked) ? notYours(id) : service.unknownJob(id);
      }
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

function notYours(id: string): AppError {
  return new AppError(
    'forbidden',
    `You may see job ${id} but not cancel it, which takes the permission to write its application or \`_global\`; ask an administrator.`,
  );
}
