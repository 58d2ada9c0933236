import { counted } from '../domain/counted.ts';
import {
  type DeploymentTrigger,
  deploymentLifecycle,
  nextStatus,
} from '../domain/deployment-state.ts';
import { forbiddenServers, isAllowed } from '../domain/permissions.ts';
import type { WaitingFor } from '../domain/waiting-for.ts';
import type { Db } from '../store/database.ts';
import { findDeployment, listOverlap } from '../store/deployments.ts';
import { listUsers } from '../store/users.ts';
import type { ServiceContext } from './context.ts';
import { unapprovedBatch } from './deployment-gates.ts';
import { type DeploymentDetails, getDeployment } from './deployments.ts';

/** What a user can do about a deployment as it stands, and who may. */
export interface PossibleAction {
  readonly action: string;
  /** Names of users, sorted; the first `MAX_USERS` of them. */
  readonly users: readonly string[];
}

/** Why a deployment stands where it stands. */
export interface Explanation {
  readonly deployment: DeploymentDetails;
  /** In words, the most important first. */
  readonly sentences: readonly string[];
  /** Where it waits for another deployment: what of its work that one holds. */
  readonly heldPairs: readonly { readonly server: string; readonly gitdeploy: string }[];
  readonly actions: readonly PossibleAction[];
}

const MAX_USERS = 50;
const MAX_PAIRS = 50;
const MAX_FAILURES = 5;
/** How many deployments that wait for each other are told of. */
const MAX_CHAIN = 5;

/** Says why a deployment waits or has stopped, who holds what, and who may act. @throws {AppError} `not_found` */
export async function explainDeployment(
  context: ServiceContext,
  application: string,
  id: string,
): Promise<Explanation> {
  const { db } = context.database;
  const deployment = await getDeployment(context, application, id);
  const { waitingFor } = deployment;
  const heldPairs =
    waitingFor?.kind === 'deployment'
      ? await listOverlap(db, { id, otherId: waitingFor.deployment_id, limit: MAX_PAIRS })
      : [];
  return {
    deployment,
    sentences: [
      ...describeState(deployment),
      ...(waitingFor === null ? [] : await describeWaiting(db, waitingFor)),
      ...describeFailures(deployment),
    ],
    heldPairs,
    actions: await possibleActions(db, deployment),
  };
}

function describeState(deployment: DeploymentDetails): string[] {
  const { status, batches, rollbackBatches, waitingFor } = deployment;
  const isCancelled = deployment.cancelRequestedAt !== null;
  switch (status) {
    case 'queued':
      return waitingFor === null
        ? ['It is queued: no worker has begun with it yet.']
        : ['It is queued, and nothing has been touched.'];
    case 'preparing':
      return ['It makes its commits and sends them to the servers; nothing has been switched yet.'];
    case 'running':
      return [
        ...describeBatch(batches, 'batch'),
        ...(isCancelled ? ['It was cancelled, and ends when what runs has come to its end.'] : []),
        ...(deployment.pauseRequestedAt === null
          ? []
          : ['A pause was asked for, and begins when the batch has ended.']),
      ];
    case 'paused':
      return ['It was paused by a user, and goes on when a user resumes it.'];
    case 'rolling_back':
      return [
        'It is being rolled back.',
        ...describeBatch(rollbackBatches, 'batch of the rollback'),
      ];
    case 'succeeded':
      return describeSuccess(deployment);
    case 'failed':
      return [
        isUntouched(deployment)
          ? 'It has failed before anything was touched.'
          : 'It has failed and stopped; servers that were done keep what they have.',
      ];
    case 'cancelled':
      return [
        deployment.supersededById === null
          ? 'It was cancelled; servers that were done keep what they have.'
          : `Deployment ${deployment.supersededById} has taken over; servers that were done keep what they have until that one comes to them.`,
      ];
    case 'rolled_back':
      return ['It was rolled back: every server has what it had before.'];
  }
}

/** Steps of servers that could not be reached and were left out, which is no failure. */
const leftOut = ({ batches }: DeploymentDetails): number =>
  batches.flatMap((b) => b.steps).filter((s) => s.status === 'skipped' && s.error !== null).length;

function describeSuccess(deployment: DeploymentDetails): string[] {
  const count = leftOut(deployment);
  if (count === 0) return ['It has succeeded everywhere.'];
  return [
    `It has succeeded wherever it could reach; ${counted(count, 'step was', 'steps were')} left out, and POST /app/${deployment.applicationName}/catchup does them once their servers are back.`,
  ];
}

/** Whether no step has ever begun on a server. */
const isUntouched = ({ batches }: DeploymentDetails): boolean =>
  batches.every((batch) => batch.steps.every((step) => step.attempts === 0));

function describeBatch(batches: DeploymentDetails['batches'], noun: string): string[] {
  const at = batches.findIndex((batch) => batch.startedAt !== null && batch.finishedAt === null);
  const batch = batches[at];
  if (batch === undefined) {
    const done = batches.filter((b) => b.finishedAt !== null).length;
    return [`${done} of ${counted(batches.length, 'batch is', 'batches are')} done.`];
  }
  const open = batch.steps.filter((s) => s.status === 'pending' || s.status === 'running');
  const running = batch.steps.filter((s) => s.status === 'running');
  const since = batch.startedAt === null ? '' : ` since ${batch.startedAt.toISOString()}`;
  const names = running.slice(0, 3).map((s) => `${s.gitdeployName} on ${s.serverName}`);
  return [
    `The ${noun} ${at + 1} of ${batches.length} runs${since}: ${batch.steps.length - open.length} of ${counted(batch.steps.length, 'step is', 'steps are')} done.`,
    ...(names.length === 0
      ? []
      : [`At work: ${names.join(', ')}${running.length > names.length ? ', …' : ''}.`]),
  ];
}

async function describeWaiting(db: Db, waitingFor: WaitingFor): Promise<string[]> {
  const sentences: string[] = [];
  let waits: WaitingFor | null = waitingFor;
  let subject = 'It';
  for (let i = 0; waits !== null && i < MAX_CHAIN; i += 1) {
    if (waits.kind !== 'deployment') {
      sentences.push(`${subject} ${describeGate(waits)}`);
      break;
    }
    const other = await findDeployment(db, waits.deployment_id);
    if (other === null) {
      sentences.push(
        `${subject} waits for ${waits.deployment_id}, which works on the same servers.`,
      );
      break;
    }
    sentences.push(
      `${subject} waits for deployment ${other.id} (build \`${other.buildName}\`, by \`${other.username}\`, ${other.status.replaceAll('_', ' ')}), which works on the same servers and was asked for before.`,
    );
    waits = other.waitingFor;
    subject = 'That one';
  }
  return sentences;
}

function describeGate(waits: Exclude<WaitingFor, { kind: 'deployment' }>): string {
  switch (waits.kind) {
    case 'pause':
      return `pauses after batch ${waits.after_batch}, as planned, until ${waits.until}.`;
    case 'approval':
      return `waits for a user to approve what comes after batch ${waits.after_batch}.`;
    case 'freeze':
      return `waits because environment \`${waits.environment}\` is frozen by \`${waits.freeze_window}\` until ${waits.until}${waits.reason === null ? '.' : ` (${waits.reason}).`}`;
  }
}

function describeFailures(deployment: DeploymentDetails): string[] {
  const { batches, rollbackBatches, error, supersededById } = deployment;
  const steps = [...batches, ...rollbackBatches].flatMap((batch) => batch.steps);
  const failed = steps.filter((s) => s.status === 'failed');
  const skipped = steps.filter((s) => s.status === 'skipped' && s.error === null).length;
  const sentences = failed
    .slice(0, MAX_FAILURES)
    .map((s) => `\`${s.gitdeployName}\` on \`${s.serverName}\` failed: ${messageOf(s.error)}`);
  if (failed.length > MAX_FAILURES) {
    sentences.push(`${failed.length - MAX_FAILURES} more steps failed; the deployment lists them.`);
  }
  const isTold = failed.length > 0 || supersededById !== null;
  if (!isTold && error !== null) sentences.push(messageOf(error));
  if (skipped > 0) {
    sentences.push(`${skipped} ${skipped === 1 ? 'step' : 'steps'} never ran because of that.`);
  }
  return sentences;
}

function messageOf(error: unknown): string {
  const isError = typeof error === 'object' && error !== null && 'message' in error;
  return isError ? String(error.message) : 'it does not say why.';
}

/** Actions that change nothing on servers need the application alone. */
const STOPPING: ReadonlySet<string> = new Set(['cancel', 'pause']);
const CONTROLS: readonly DeploymentTrigger[] = ['cancel', 'pause', 'resume', 'retry', 'rollback'];

async function possibleActions(db: Db, deployment: DeploymentDetails): Promise<PossibleAction[]> {
  const { status, target, applicationName, cancelRequestedAt } = deployment;
  const isEnding = cancelRequestedAt !== null && deployment.finishedAt === null;
  if (isEnding) return [];
  const actions: string[] = CONTROLS.filter(
    (trigger) =>
      nextStatus(deploymentLifecycle, status, trigger) !== null &&
      !(trigger === 'rollback' && isUntouched(deployment)),
  );
  if (unapprovedBatch(deployment) !== null) actions.unshift('approve');
  if (deployment.waitingFor?.kind === 'freeze') actions.unshift('override_freeze');
  if (actions.length === 0) return [];
  const writers = (await listUsers(db, {})).filter(({ permissions }) =>
    isAllowed(permissions, applicationName, 'write'),
  );
  const onServers = writers.filter(
    ({ permissions }) => forbiddenServers(permissions, target.servers).length === 0,
  );
  return actions.map((action) => ({
    action,
    users: (STOPPING.has(action) ? writers : onServers)
      .slice(0, MAX_USERS)
      .map(({ username }) => username),
  }));
}
