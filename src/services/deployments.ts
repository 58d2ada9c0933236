import { AppError } from '../domain/errors.ts';
import { requireFreezeReason } from '../domain/freeze-window.ts';
import { requireSamePlan } from '../domain/plan-hash.ts';
import { lockApplication } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import * as lists from '../store/deployment-lists.ts';
import * as store from '../store/deployments.ts';
import { appendEvent } from '../store/events.ts';
import {
  type DeploymentPage,
  type ListedDeployment,
  readDeployments as readListed,
} from '../store/listed-deployments.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
import { settleConflicts } from './deployment-conflicts.ts';
import { draftDeployment, type NewDeployment, recorded } from './deployment-draft.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { requireApplication } from './lookup.ts';
import type { PlanWarning } from './plan-warnings.ts';
import { readAhead } from './read-ahead.ts';

export type { ShownBatch, ShownPlan, ShownStep } from '../store/deployments.ts';
export type { ListedDeployment } from '../store/listed-deployments.ts';
export type DeploymentDetails = store.DeploymentRow & { readonly applicationName: string };

/**
 * Stores a deployment with its plan and starts the job that runs it.
 * @throws {AppError} `not_found`, what `resolveDeploymentTarget` throws, and `forbidden` for servers that the
 *   caller may not touch; nothing is stored then
 */
export async function createDeployment(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  applicationName: string,
  input: NewDeployment,
): Promise<{ deployment: DeploymentDetails; job: Job; warnings: readonly PlanWarning[] }> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  if (input.options.override_freeze) requireFreezeReason(input.reason);
  const { deploymentId, job, woken, warnings } = await database.transaction(async (tx) => {
    // So that what the plan rests on is not deleted while it is being written.
    await lockApplication(tx, application.id);
    const draft = await draftDeployment(tx, caller, application, input);
    if (input.planHash !== null) requireSamePlan(input.planHash, draft.planHash);
    const { id } = await store.insertDeployment(tx, {
      applicationId: application.id,
      build: draft.build,
      username: caller.username,
      reason: input.reason,
      target: recorded(draft.target),
      options: input.options,
      planHash: draft.planHash,
      batches: draft.batches,
      serverIds: draft.serverIds,
      gitdeployIds: new Map(draft.gitdeploys.map((g) => [g.name, g.id])),
    });
    const superseded = await settleConflicts(tx, caller, {
      id,
      applicationId: application.id,
      application: application.name,
      onConflict: input.options.on_conflict,
    });
    const row = await recordJob(tx, caller, {
      kind: 'run_deployment',
      data: { deploymentId: id },
      applicationId: application.id,
    });
    await appendEvent(tx, {
      jobId: row.id,
      deploymentId: id,
      kind: 'deployment',
      data: { status: 'queued', build: draft.build.name, batches: draft.batches.length },
    });
    await recordAudit(tx, caller, {
      action: 'deployment.create',
      application: application.name,
      subject: id,
      after: {
        build: draft.build.name,
        reason: input.reason,
        target: recorded(draft.target),
        options: input.options,
      },
    });
    return { deploymentId: id, job: row, woken: superseded, warnings: draft.warnings };
  });
  for (const jobId of woken) await context.queue.ring(jobId);
  await ringJob(context, job);
  const deployment = await getDeployment(context, applicationName, deploymentId);
  return { deployment, job, warnings };
}

/** The ids of a page of deployments, newest first. */
export async function listDeployments(
  { database: { db } }: ServiceContext,
  applicationName: string,
  page: { limit: number; after?: string | undefined },
): Promise<PageOf<string>> {
  const application = await requireApplication(db, applicationName);
  const found = await lists.listDeploymentIds(db, application.id, page);
  const { rows, next } = toPage(found, page.limit, ({ id }) => id);
  return { rows: rows.map(({ id }) => id), next };
}

/** The ids of all deployments after the one with the id `after`, newest first, some at a time as they are taken. */
export async function* readDeploymentIds(
  { database: { db } }: ServiceContext,
  applicationName: string,
  after: string | undefined,
): AsyncGenerator<string[]> {
  const application = await requireApplication(db, applicationName);
  yield* lists.readDeploymentIds(db, application.id, after);
}

/**
 * A page of deployments with all about them, newest first, some at a time as they are taken and as many ahead. If there is
 * no such application, `not_found` is thrown where the first ones would be.
 */
export function readDeployments(
  { database }: ServiceContext,
  applicationName: string,
  page: { limit: number; after?: string | undefined },
): DeploymentPage {
  const { pages, next } = readListed(database, applicationName, page);
  const found = async function* (): AsyncGenerator<ListedDeployment[]> {
    let isEmpty = true;
    for await (const some of pages) {
      isEmpty = false;
      yield some;
    }
    if (isEmpty) await requireApplication(database.db, applicationName);
  };
  return { pages: readAhead(found()), next };
}

/** @throws {AppError} `not_found` */
export async function getDeployment(
  context: ServiceContext,
  applicationName: string,
  id: string,
): Promise<DeploymentDetails> {
  const deployment = await findOf(context, { applicationName, id }, store.findDeployment);
  return { ...deployment, applicationName };
}

/** Looks whether there is a deployment, without reading its plan. @throws {AppError} `not_found` */
export async function requireDeployment(
  context: ServiceContext,
  applicationName: string,
  id: string,
): Promise<void> {
  await findOf(context, { applicationName, id }, store.findDeploymentHead);
}

async function findOf<D extends store.DeploymentHead>(
  { database: { db } }: ServiceContext,
  { applicationName, id }: { readonly applicationName: string; readonly id: string },
  find: (db: Db, id: string) => Promise<D | null>,
): Promise<D> {
  const application = await requireApplication(db, applicationName);
  const deployment = await find(db, id);
  if (deployment?.applicationId === application.id) return deployment;
  throw new AppError(
    'not_found',
    `Application \`${applicationName}\` has no deployment ${id}; GET /app/${applicationName}/deployments lists them.`,
  );
}

/** Permissions first: to who may not touch a server it makes no difference whether it exists. */
