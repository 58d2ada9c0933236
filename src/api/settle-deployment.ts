import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import type { ServiceContext } from '../services/context.ts';
import { getDeployment } from '../services/deployments.ts';
import type { Job } from '../services/jobs.ts';
import type { ControlledDeployment as ControlledDeploymentRow } from '../services/locked-deployment.ts';
import { toDeployment } from './resources/deployments.ts';
import type { ControlledDeployment, StartedDeployment } from './schemas/deployments.ts';
import { settleJob } from './settle-job.ts';

interface AskedDeployment extends ControlledDeploymentRow {
  /** From the query parameter `wait`; undefined does not wait. */
  readonly waitSeconds: number | undefined;
}

/**
 * Makes the reply that of a deployment whose job is to do what was asked for: see `settleJob`. Who has waited is shown
 * the deployment as it is then, also if the time was up.
 * @throws {AppError} what `settleJob` throws
 */
export async function settleDeployment(
  context: ServiceContext,
  reply: FastifyReply,
  { deployment, job, waitSeconds }: AskedDeployment & { readonly job: Job },
): Promise<Omit<z.infer<typeof StartedDeployment>, 'warnings'>> {
  const { id, applicationName } = deployment;
  const settled = await settleJob(context, reply, { job, waitSeconds });
  const current = settled.wasHeld ? await getDeployment(context, applicationName, id) : deployment;
  return { ...toDeployment(current), job: settled.summary };
}

/** As `settleDeployment`, where there may be no job, and then nothing to wait for. */
export async function settleControlled(
  context: ServiceContext,
  reply: FastifyReply,
  asked: AskedDeployment,
): Promise<z.infer<typeof ControlledDeployment>> {
  const { job } = asked;
  if (job !== null) return settleDeployment(context, reply, { ...asked, job });
  reply.code(202);
  return toDeployment(asked.deployment);
}
