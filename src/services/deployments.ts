import { EMPTY_TREE } from '../depot/git.ts';
import type { Batch } from '../domain/batches.ts';
import { summarizeChanges, type TreeDifference } from '../domain/changed-files.ts';
import type {
  ChangedFiles,
  DeploymentOptions,
  RecordedTarget,
} from '../domain/deployment-options.ts';
import type { DeploymentRequest, DeploymentSnapshot } from '../domain/deployment-snapshot.ts';
import type { StepStatus } from '../domain/deployment-state.ts';
import {
  type DeploymentTarget,
  planTarget,
  resolveDeploymentTarget,
} from '../domain/deployment-target.ts';
import { AppError } from '../domain/errors.ts';
import { requireFreezeReason } from '../domain/freeze-window.ts';
import type { TargetWarning } from '../domain/group-target.ts';
import { type ApplicationRow, lockApplication } from '../store/applications.ts';
import type { Db } from '../store/database.ts';
import * as store from '../store/deployments.ts';
import { appendEvent } from '../store/events.ts';
import { listGitdeploys } from '../store/gitdeploys.ts';
import { findBranch } from '../store/gitrepos.ts';
import { listGroups } from '../store/groups.ts';
import { listInstallationPairs } from '../store/installations.ts';
import { listServerPlaces } from '../store/servers.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers, visibleServers } from './authorization.ts';
import { type Build, requireBuild } from './builds.ts';
import { type PageOf, type ServiceContext, toPage } from './context.ts';
import type { Gitdeploy } from './gitdeploys.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { requireApplication } from './lookup.ts';

export type DeploymentHead = store.DeploymentHead & { readonly stepCounts: StepCounts };
export type DeploymentDetails = store.DeploymentRow & { readonly applicationName: string };
export type StepCounts = Partial<Record<StepStatus, number>>;

export interface NewDeployment {
  readonly buildName: string;
  readonly request: DeploymentRequest;
  readonly options: DeploymentOptions;
  readonly reason: string | null;
}

/** What a deployment would do. */
export interface DeploymentPlan {
  readonly application: string;
  readonly build: string;
  readonly target: RecordedTarget;
  readonly options: DeploymentOptions;
  readonly batches: readonly Batch[];
  readonly warnings: readonly TargetWarning[];
  /** By gitdeploy: how the files of its gitrepo branch would change. */
  readonly changes: Readonly<Record<string, ChangedFiles>>;
}

/** The rows that a plan is made from and the plan itself. */
interface Draft {
  readonly application: ApplicationRow;
  readonly build: Build;
  readonly gitdeploys: readonly Gitdeploy[];
  readonly serverIds: ReadonlyMap<string, string>;
  readonly target: DeploymentTarget;
  readonly batches: readonly Batch[];
}

/**
 * Plans a deployment and writes nothing.
 * @throws {AppError} `not_found`, what `resolveDeploymentTarget` throws, and `forbidden` for servers that the
 *   caller may not touch
 */
export async function planDeployment(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  applicationName: string,
  input: NewDeployment,
): Promise<DeploymentPlan> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  const draft = await draftDeployment(db, caller, application, input);
  return {
    application: application.name,
    build: draft.build.name,
    target: recorded(draft.target),
    options: input.options,
    batches: draft.batches,
    warnings: draft.target.warnings,
    changes: await foreseeChanges(context, draft),
  };
}

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
): Promise<{ deployment: DeploymentDetails; job: Job; warnings: readonly TargetWarning[] }> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  if (input.options.override_freeze) requireFreezeReason(input.reason);
  const { deploymentId, job, warnings } = await database.transaction(async (tx) => {
    // So that what the plan rests on is not deleted while it is being written.
    await lockApplication(tx, application.id);
    const draft = await draftDeployment(tx, caller, application, input);
    const { id } = await store.insertDeployment(tx, {
      applicationId: application.id,
      build: draft.build,
      username: caller.username,
      reason: input.reason,
      target: recorded(draft.target),
      options: input.options,
      batches: draft.batches,
      serverIds: draft.serverIds,
      gitdeployIds: new Map(draft.gitdeploys.map((g) => [g.name, g.id])),
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
    return { deploymentId: id, job: row, warnings: draft.target.warnings };
  });
  await ringJob(context, job);
  const deployment = await getDeployment(context, applicationName, deploymentId);
  return { deployment, job, warnings };
}

/** Deployments, newest first. */
export async function listDeployments(
  context: ServiceContext,
  applicationName: string,
  page: { limit?: number | undefined; after?: string | undefined },
): Promise<PageOf<DeploymentHead>> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  const { rows, next } = toPage(
    await store.listDeployments(db, application.id, page),
    page.limit,
    (d) => d.id,
  );
  const counts = await store.countSteps(
    db,
    rows.map((d) => d.id),
  );
  return { rows: rows.map((d) => ({ ...d, stepCounts: counts.get(d.id) ?? {} })), next };
}

/** @throws {AppError} `not_found` */
export async function getDeployment(
  context: ServiceContext,
  applicationName: string,
  id: string,
): Promise<DeploymentDetails> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  const deployment = await store.findDeployment(db, id);
  if (deployment === null || deployment.applicationId !== application.id) {
    throw new AppError(
      'not_found',
      `Application \`${applicationName}\` has no deployment ${id}; GET /app/${applicationName}/deployments lists them.`,
    );
  }
  return { ...deployment, applicationName: application.name };
}

/** Permissions first: to who may not touch a server it makes no difference whether it exists. */
async function draftDeployment(
  db: Db,
  caller: AuthenticatedCaller,
  application: ApplicationRow,
  input: NewDeployment,
): Promise<Draft> {
  requireServers(caller, input.request.servers ?? []);
  const build = await requireBuildOfRequest(db, application.id, input.buildName);
  const installations = await listInstallationPairs(db, application.id);
  const servers = await listKnownServers(db, caller, installations);
  const gitdeploys = await listGitdeploys(db, application.id, {});
  const snapshot: DeploymentSnapshot = {
    servers,
    gitdeploys: gitdeploys.map((g) => ({
      name: g.name,
      package: g.packageName,
      gitrepo: g.gitrepo.name,
      branch: g.branch,
      path: g.path,
    })),
    groups: await listGroups(db, application.id, {}),
    installations,
    build: { name: build.name, state: build.state, packages: build.packages.map((p) => p.name) },
  };
  const target = resolveDeploymentTarget(input.request, snapshot);
  requireServers(caller, target.servers);
  const batches = planTarget(target, {
    divisor: input.options.rolling_divisor,
    rollingPauseSeconds: input.options.rolling_pause,
    orderedPauseSeconds: input.options.ordered_pause,
    canary:
      input.options.canary === null
        ? null
        : { size: input.options.canary, pauseSeconds: input.options.canary_pause },
    approve: input.options.approve,
  });
  return {
    application,
    build,
    gitdeploys,
    serverIds: new Map(servers.map((s) => [s.name, s.id])),
    target,
    batches,
  };
}

/**
 * The servers that may be spoken of: those that the caller may look at, and those that the application is on. Others,
 * and their environments, are as if they were not there.
 */
async function listKnownServers(
  db: Db,
  caller: AuthenticatedCaller,
  installations: DeploymentSnapshot['installations'],
): Promise<{ id: string; name: string; environment: string }[]> {
  const isVisible = visibleServers(caller);
  const installed = new Set(installations.map(({ server }) => server));
  const places = await listServerPlaces(db);
  return places.filter(({ name }) => isVisible(name) || installed.has(name));
}

/** In a deployment's parameters an unknown build is bad input (400), while in a path it would be 404. */
async function requireBuildOfRequest(db: Db, applicationId: string, name: string): Promise<Build> {
  try {
    return await requireBuild(db, applicationId, name);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'not_found') throw error;
    throw new AppError('invalid_input', error.message, { details: error.details, cause: error });
  }
}

function recorded(target: DeploymentTarget): RecordedTarget {
  return {
    style: target.style,
    environments: target.style === 'group' ? [...target.environments] : [],
    groups: target.style === 'group' ? target.groups.map((g) => g.name) : [],
    servers: [...target.servers],
    gitdeploys: [...target.gitdeploys],
  };
}

async function foreseeChanges(
  context: ServiceContext,
  draft: Draft,
): Promise<Record<string, ChangedFiles>> {
  const changes: Record<string, ChangedFiles> = {};
  for (const name of draft.target.gitdeploys) {
    const gitdeploy = draft.gitdeploys.find((g) => g.name === name);
    const tree = draft.build.packages.find((p) => p.name === gitdeploy?.packageName)?.tree;
    if (gitdeploy === undefined || tree === undefined) continue;
    const branch = await findBranch(context.database.db, gitdeploy.gitrepoId, gitdeploy.branch);
    const difference: TreeDifference =
      branch?.headTree === tree
        ? { added: [], modified: [], deleted: [] }
        : await context.depot.diffTrees({
            applicationId: draft.application.id,
            from: branch?.headTree ?? EMPTY_TREE,
            to: tree,
          });
    changes[name] = summarizeChanges(difference);
  }
  return changes;
}
