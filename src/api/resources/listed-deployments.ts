import { deploymentLifecycle, isFinal } from '../../domain/deployment-state.ts';
import type { ListedDeployment } from '../../services/deployments.ts';
import { toBatch, toCommits, toProgress } from './deployments.ts';
import { toStoredError } from './json.ts';

/** Deployments of an application as JSON with commas between them, each byte for byte what it is alone. */
export async function* toDeploymentsJson(
  pages: AsyncIterable<readonly ListedDeployment[]>,
  application: string,
): AsyncGenerator<string> {
  const name = json(application);
  for await (const page of pages) {
    let text = '';
    for (const listed of page) {
      if (text !== '') text += ',';
      text += toJson(listed, name);
    }
    yield text;
  }
}

const json = JSON.stringify;

/** What `toDeployment` gives, in the order of the schema, without objects that would be made only to be written. */
function toJson({ head, plan }: ListedDeployment, applicationJson: string): string {
  const finishedAt = isFinal(deploymentLifecycle, head.status) ? head.finishedAt : null;
  return `{"id":"${head.id}","application":${applicationJson},"build":${json(head.buildName)},"username":${json(
    head.username,
  )},"reason":${json(head.reason)},"status":"${head.status}","target":${head.target},"options":${
    head.options
  },"error":${json(toStoredError(head.error))},"progress":${json(
    toProgress(plan.batches),
  )},"created_datetime":${time(head.createdAt)},"started_at":${time(head.startedAt)},"finished_at":${time(
    finishedAt,
  )},"waiting_for":${json(head.waitingFor)},"superseded_by":${json(head.supersededById)},"plan_hash":${json(
    head.planHash,
  )},"pause_requested_at":${time(head.pauseRequestedAt)},"cancel_requested_at":${time(
    head.cancelRequestedAt,
  )},"commits":${json(toCommits(plan.commits))},"batches":${json(
    plan.batches.map(toBatch),
  )},"rollback_batches":${json(plan.rollbackBatches.map(toBatch))}}`;
}

/** In no need of what `JSON.stringify` looks for. */
function time(text: string | null): string {
  return text === null ? 'null' : `"${text}"`;
}
