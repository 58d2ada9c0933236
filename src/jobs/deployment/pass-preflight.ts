import { AppError } from '../../domain/errors.ts';
import { moveBatch } from '../../store/deployments.ts';
import { finishSteps } from '../../store/steps.ts';
import type { JobDependencies } from '../dependencies.ts';
import type { JobContext } from '../handler.ts';
import { allSteps, type DeploymentWork, isOpen, type StepWork } from './deployment-work.ts';
import { findProblems, type PreflightProblem } from './preflight.ts';
import { noteSeen } from './run-step.ts';

/** How many problems an error tells of; the steps have them all. */
const MAX_TOLD = 50;

/**
 * Looks at all servers before anything is changed. Those that cannot be reached are left out, if the deployment wants
 * that; where more than `max_failures` others have a problem, it goes no further.
 * @returns whether steps were left out
 * @throws {AppError} `preflight_failed`, with the problems by server; their steps have failed with them
 */
export async function passPreflight(
  dependencies: JobDependencies,
  context: JobContext,
  { work, signal }: { readonly work: DeploymentWork; readonly signal: AbortSignal },
): Promise<boolean> {
  const { options, build } = work;
  const steps = allSteps(work).filter(isOpen);
  const { concurrency } = options;
  const found = await findProblems(dependencies, { targets: steps, build, concurrency, signal });
  const isLeftOut = ({ error }: PreflightProblem): boolean =>
    options.unreachable === 'skip' && error.code === 'server_unreachable';
  const leftOut = new Set(found.filter(isLeftOut).map(({ server }) => server));
  const problems = found.filter((problem) => !isLeftOut(problem));
  const servers = new Set(steps.map(({ server }) => server.name));
  const bad = new Set(problems.map(({ server }) => server));
  const isNobodyLeft = leftOut.size === servers.size;
  const isStopped = isNobodyLeft || bad.size > options.max_failures;
  const failedBatches = new Set<string>();
  const told = { servers: servers.size, problems: found.slice(0, MAX_TOLD) };
  await context.record('preflight', told, async (tx) => {
    for (const item of steps) {
      const problem = found.find((one) => concerns(one, item));
      if (problem === undefined) continue;
      await noteSeen(tx, item, problem.error.code);
      const status = isLeftOut(problem) && !isNobodyLeft ? 'skipped' : 'failed';
      if (status === 'failed' && !isStopped) continue;
      await finishSteps(tx, [{ id: item.step.id, status, error: problem.error }]);
      if (status === 'failed') failedBatches.add(item.step.batchId);
    }
    for (const id of failedBatches) await moveBatch(tx, id, 'failed', { finishedAt: new Date() });
  });
  if (isStopped) throw preflightFailed(work, isNobodyLeft ? found : problems, servers.size);
  return leftOut.size > 0;
}

function concerns(problem: PreflightProblem, { server, gitdeploy }: StepWork): boolean {
  return (
    problem.server === server.name &&
    (problem.gitdeploy === null || problem.gitdeploy === gitdeploy.name)
  );
}

function preflightFailed(
  { deployment }: DeploymentWork,
  problems: readonly PreflightProblem[],
  servers: number,
): AppError {
  const bad = new Set(problems.map(({ server }) => server)).size;
  const [first] = problems;
  return new AppError(
    'preflight_failed',
    `Build \`${deployment.buildName}\` was not deployed, and nothing was touched: ${bad} of ${servers} servers cannot take it. ${first?.error.message ?? ''} \`details.problems\` has them all; correct them, then try again.`,
    {
      details: {
        deployment_id: deployment.id,
        problems: problems.slice(0, MAX_TOLD),
      },
    },
  );
}
