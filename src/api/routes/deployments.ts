import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { DeploymentOptions } from '../../domain/deployment-options.ts';
import type { ServiceContext } from '../../services/context.ts';
import * as control from '../../services/deployment-control.ts';
import { planDeployment, startPreflight } from '../../services/deployment-plan.ts';
import * as service from '../../services/deployments.ts';
import { getJob, type Job } from '../../services/jobs.ts';
import type { ControlledDeployment as ControlledDeploymentRow } from '../../services/locked-deployment.ts';
import { type StreamPlaces, sendEventStream } from '../event-stream.ts';
import type { Api } from '../fastify-types.ts';
import { paged, pagedJson, sendJsonStream } from '../json-stream.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toDeployment, toDeploymentPlan, toWarnings } from '../resources/deployments.ts';
import { toJobSummary } from '../resources/jobs.ts';
import { toDeploymentsJson } from '../resources/listed-deployments.ts';
import {
  ControlledDeployment,
  DeployBody,
  Deployment,
  DeploymentList,
  DeploymentPlan,
  DeployQuery,
  PreflightResult,
  StartedDeployment,
} from '../schemas/deployments.ts';
import {
  ApplicationPath,
  DeploymentPath,
  EventStream,
  HistoryQuery,
  pageOf,
  StreamQuery,
  wait,
} from '../schemas/parameters.ts';
import { settleControlled, settleDeployment } from '../settle-deployment.ts';
import { settleJob, untilGone } from '../settle-job.ts';

const tags = ['deployments'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

/** How long a dry run waits for what is found on the servers, unless it says so itself. */
const PREFLIGHT_WAIT_SECONDS = 60;

/** What each action says of itself in the documentation. */
const ACTIONS: Readonly<
  Record<control.DeploymentAction, { summary: string; description: string }>
> = {
  cancel: {
    summary: 'Cancel a deployment',
    description:
      'What prepull and postpull run is ended, a switch comes to its end, and nothing more begins. Servers that are done keep the build.',
  },
  pause: {
    summary: 'Pause a deployment after the batch that is running',
    description: 'Its servers stay reserved until it goes on. Asked for again, nothing changes.',
  },
  resume: {
    summary: 'Let a paused deployment go on',
    description: 'Before the pause has begun this withdraws it.',
  },
  retry: {
    summary: 'Run again what has not succeeded',
    description:
      'The plan and the commits stay the same. Steps that have succeeded are not run again.',
  },
  rollback: {
    summary: 'Put back what each server had before',
    description:
      'Batch by batch in the opposite order, without pauses, as new commits of the old trees. What later deployments have changed is left alone.',
  },
};

export function addDeploymentRoutes(app: Api, context: ServiceContext, places: StreamPlaces): void {
  app.route({
    method: 'GET',
    url: '/app/:application/deployments',
    config: read,
    schema: {
      summary: 'List deployments, newest first',
      tags,
      params: ApplicationPath,
      querystring: HistoryQuery,
      response: { 200: DeploymentList },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const { limit, after } = pageOf(request.query);
      if (limit === undefined) {
        const ids = service.readDeploymentIds(context, application, after);
        await sendJsonStream(reply, { application, deployments: paged(ids) });
        return reply;
      }
      const page = { limit, after };
      if (request.query.details) {
        const { pages, next } = service.readDeployments(context, application, page);
        const deployments = pagedJson(toDeploymentsJson(pages, application));
        await sendJsonStream(reply, { application, deployments, next: () => next() ?? undefined });
        return reply;
      }
      const { rows: ids, next } = await service.listDeployments(context, application, page);
      await sendJsonStream(reply, { application, deployments: ids, next: next ?? undefined });
      return reply;
    },
  });

  app.route({
    method: 'POST',
    url: '/app/:application/deployments',
    config: write,
    schema: {
      summary: 'Deploy a build, or with `dry_run` plan it only',
      description:
        'The body names `servers` and `gitdeploys` (manual), or `environments` and `groups` (group deployment).',
      tags,
      params: ApplicationPath,
      querystring: DeployQuery,
      body: DeployBody,
      response: { 200: z.union([StartedDeployment, DeploymentPlan]), 202: StartedDeployment },
    },
    handler: async (request, reply) => {
      const { application } = request.params;
      const { build_name: buildName, reason = null, plan_hash: planHash = null } = request.query;
      const { dry_run, wait } = request.query;
      const options = DeploymentOptions.parse(request.query);
      const input = { buildName, request: request.body, options, reason, planHash };
      if (dry_run) {
        const plan = await planDeployment(context, callerOf(request), application, input);
        if (!request.query.preflight) return toDeploymentPlan(plan);
        const job = await startPreflight(context, callerOf(request), plan);
        const waitSeconds = wait ?? PREFLIGHT_WAIT_SECONDS;
        const preflight = await settlePreflight(context, reply, { job, waitSeconds });
        return { ...toDeploymentPlan(plan), preflight };
      }
      const started = await service.createDeployment(
        context,
        callerOf(request),
        application,
        input,
      );
      const { job, deployment, warnings } = started;
      const settled = await settleDeployment(context, reply, {
        deployment,
        job,
        waitSeconds: wait,
      });
      return { ...settled, warnings: toWarnings(warnings) };
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/deployments/:deployment',
    config: read,
    schema: {
      summary: 'Show a deployment with its batches and steps',
      tags,
      params: DeploymentPath,
      response: { 200: Deployment },
    },
    handler: async (request) => {
      const { application, deployment } = request.params;
      return toDeployment(await service.getDeployment(context, application, deployment));
    },
  });

  app.route({
    method: 'GET',
    url: '/app/:application/deployments/:deployment/events',
    config: read,
    exposeHeadRoute: false,
    schema: {
      summary: 'Follow a deployment live',
      description:
        'Server-Sent Events: state changes and output lines, from the first on or after a known one, then `end`.',
      tags,
      produces: ['text/event-stream'],
      params: DeploymentPath,
      querystring: StreamQuery,
      response: { 200: EventStream },
    },
    handler: async (request, reply) => {
      const { application, deployment: id } = request.params;
      await service.requireDeployment(context, application, id);
      return sendEventStream(request, reply, {
        places,
        after: request.query.after,
        open: (after, signal) => control.followDeployment(context, id, { after, signal }),
      });
    },
  });

  for (const action of control.DEPLOYMENT_ACTIONS) {
    app.route({
      method: 'POST',
      url: `/app/:application/deployments/:deployment/${action}`,
      config: write,
      schema: {
        ...ACTIONS[action],
        tags,
        params: DeploymentPath,
        querystring: z.strictObject({ wait }),
        response: { 200: ControlledDeployment, 202: ControlledDeployment },
      },
      handler: async (request, reply) => {
        const { application, deployment: id } = request.params;
        const of = { application, id, action };
        const asked = await control.controlDeployment(context, callerOf(request), of);
        return settleAction(context, reply, { ...asked, action, waitSeconds: request.query.wait });
      },
    });
  }
}

/** The job's end is the end of what was asked for, except for what ends or interrupts the job itself. */
async function settleAction(
  context: ServiceContext,
  reply: FastifyReply,
  asked: ControlledDeploymentRow & {
    readonly action: control.DeploymentAction;
    readonly waitSeconds: number | undefined;
  },
): Promise<z.infer<typeof ControlledDeployment>> {
  const { deployment, job, action, waitSeconds: seconds } = asked;
  if (action === 'cancel' || action === 'pause') {
    reply.code(202);
    if (job !== null) reply.header('location', `/job/${job.id}`);
    const { id, applicationName: application } = deployment;
    const waited =
      seconds === undefined
        ? null
        : await untilGone(reply, (signal) =>
            control.waitForAction(context, { application, id, action, seconds, signal }),
          );
    if (waited?.isSettled === true) reply.code(200);
    const now = job === null ? null : await getJob(context, job.id);
    return {
      ...toDeployment(waited?.deployment ?? deployment),
      ...(now === null ? {} : { job: toJobSummary(now) }),
    };
  }
  return settleControlled(context, reply, asked);
}

/** What has been found on the servers; or, if the time is up, where it is to be found. The plan is there at once. */
async function settlePreflight(
  context: ServiceContext,
  reply: FastifyReply,
  o: { readonly job: Job; readonly waitSeconds: number },
): Promise<z.infer<typeof DeploymentPlan>['preflight']> {
  const { summary, isDone } = await settleJob(context, reply, o);
  reply.code(200);
  if (isDone) return PreflightResult.parse(summary.result);
  return { job_id: summary.job_id, status: summary.status === 'queued' ? 'queued' : 'running' };
}
