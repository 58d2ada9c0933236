import { z } from 'zod';
import type { ServiceContext } from '../../services/context.ts';
import * as service from '../../services/deployments.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toDeployment, toDeploymentPlan, toWarnings } from '../resources/deployments.ts';
import {
  DeployBody,
  Deployment,
  DeploymentList,
  DeploymentPlan,
  DeployQuery,
  StartedDeployment,
} from '../schemas/deployments.ts';
import { ApplicationPath, DeploymentPath, HistoryQuery, pageOf } from '../schemas/parameters.ts';
import { settleJob } from '../settle-job.ts';

const tags = ['deployments'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

export function addDeploymentRoutes(app: Api, context: ServiceContext): void {
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
    handler: async (request) => {
      const { application } = request.params;
      const page = pageOf(request.query);
      const { rows, next } = await service.listDeployments(context, application, page);
      const ids = rows.map(({ id }) => id);
      return {
        application,
        deployments: request.query.details ? await showAll(context, application, ids) : ids,
        ...(next === null ? {} : { next }),
      };
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
      const { build_name: buildName, reason = null, dry_run, wait, ...options } = request.query;
      const input = { buildName, request: request.body, options, reason };
      if (dry_run) {
        return toDeploymentPlan(
          await service.planDeployment(context, callerOf(request), application, input),
        );
      }
      const started = await service.createDeployment(
        context,
        callerOf(request),
        application,
        input,
      );
      const { job, deployment, warnings } = started;
      const settled = await settleJob(context, reply, { job, waitSeconds: wait });
      const current = settled.isDone
        ? await service.getDeployment(context, application, deployment.id)
        : deployment;
      return { ...toDeployment(current), warnings: toWarnings(warnings), job: settled.summary };
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
}

/** One after the other: each may hold thousands of steps. */
async function showAll(
  context: ServiceContext,
  application: string,
  ids: readonly string[],
): Promise<z.infer<typeof Deployment>[]> {
  const shown: z.infer<typeof Deployment>[] = [];
  for (const id of ids)
    shown.push(toDeployment(await service.getDeployment(context, application, id)));
  return shown;
}
