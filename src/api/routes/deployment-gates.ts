import { z } from 'zod';
import type { ServiceContext } from '../../services/context.ts';
import * as gates from '../../services/deployment-gates.ts';
import { explainDeployment } from '../../services/explain-deployment.ts';
import type { Api } from '../fastify-types.ts';
import { callerOf } from '../plugins/authentication.ts';
import { toDeployment } from '../resources/deployments.ts';
import { ControlledDeployment, DeploymentExplanation } from '../schemas/deployments.ts';
import { DeploymentPath, wait } from '../schemas/parameters.ts';
import { settleControlled } from '../settle-deployment.ts';

const tags = ['deployments'];
const read = { permission: { scope: 'application', access: 'read' } } as const;
const write = { permission: { scope: 'application', access: 'write' } } as const;

const GateQuery = z.strictObject({
  wait,
  reason: z.string().max(1000).optional().meta({ description: 'Why; written to the audit.' }),
});

const GATES = {
  approve: {
    summary: 'Approve what comes after the batch that a deployment has stopped after',
    description: 'For deployments with `approve=after_canary` or `each_slice`.',
    open: gates.approveDeployment,
  },
  override_freeze: {
    summary: 'Let a deployment go on although a freeze window holds',
    description: 'It needs a `reason`, and is audited.',
    open: gates.overrideFreeze,
  },
} as const;

/** What opens the gates that a deployment waits at, and what says why it waits. */
export function addDeploymentGateRoutes(app: Api, context: ServiceContext): void {
  for (const [gate, { summary, description, open }] of Object.entries(GATES)) {
    app.route({
      method: 'POST',
      url: `/app/:application/deployments/:deployment/${gate}`,
      config: write,
      schema: {
        summary,
        description,
        tags,
        params: DeploymentPath,
        querystring: GateQuery,
        response: { 200: ControlledDeployment, 202: ControlledDeployment },
      },
      handler: async (request, reply) => {
        const { application, deployment: id } = request.params;
        const { reason = null, wait: waitSeconds } = request.query;
        const opened = await open(context, callerOf(request), { application, id, reason });
        return settleControlled(context, reply, { ...opened, waitSeconds });
      },
    });
  }

  app.route({
    method: 'GET',
    url: '/app/:application/deployments/:deployment/explain',
    config: read,
    schema: {
      summary: 'Say why a deployment waits or has stopped, who holds what, and who may act',
      tags,
      params: DeploymentPath,
      response: { 200: DeploymentExplanation },
    },
    handler: async (request) => {
      const { application, deployment: id } = request.params;
      const explained = await explainDeployment(context, application, id);
      const { status, waiting_for } = toDeployment(explained.deployment);
      return {
        id,
        application,
        status,
        sentences: [...explained.sentences],
        waiting_for,
        held_pairs: [...explained.heldPairs],
        actions: explained.actions.map(({ action, users }) => ({ action, users: [...users] })),
      };
    },
  });
}
