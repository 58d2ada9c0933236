import { sortedUnique } from '../domain/code-unit-order.ts';
import { counted } from '../domain/counted.ts';
import { AppError } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';
import * as store from '../store/applications.ts';
import { countActiveDeployments } from '../store/deployments.ts';
import { listInstallationPairs } from '../store/installations.ts';
import { countActiveJobs } from '../store/jobs.ts';
import type { Page } from '../store/paging.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers } from './authorization.ts';
import type { Deleted } from './cascade.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { requireApplication } from './lookup.ts';

export type Application = store.ApplicationRow;

export async function listApplications(
  context: ServiceContext,
  page: Page,
): Promise<PageOf<Application>> {
  const rows = await store.listApplications(context.database.db, page);
  return toPage(rows, page.limit, (a) => a.name);
}

/** @throws {AppError} `not_found` */
export function getApplication(context: ServiceContext, name: string): Promise<Application> {
  return requireApplication(context.database.db, name);
}

/** @throws {AppError} `invalid_input`, `already_exists` */
export async function createApplication(
  context: ServiceContext,
  caller: Caller,
  name: string,
): Promise<Application> {
  const parsed = parseName('application', name);
  const application = await context.database.transaction(async (tx) => {
    const made = await store.insertApplication(tx, parsed);
    await recordAudit(tx, caller, {
      action: 'application.create',
      application: parsed,
      subject: parsed,
      after: { application: parsed },
    });
    return made;
  });
  context.log.info({ application: application.name }, 'application created');
  return application;
}

/**
 * Changes how an application is treated; what is not given stays.
 * @throws {AppError} `not_found`
 */
export async function changeApplication(
  context: ServiceContext,
  caller: Caller,
  name: string,
  changes: { readonly autoCatchup?: boolean },
): Promise<Application> {
  return context.database.transaction(async (tx) => {
    const { id } = await requireApplication(tx, name);
    await store.lockApplication(tx, id);
    const before = await requireApplication(tx, name);
    const after = (await store.updateApplication(tx, id, changes)) ?? before;
    await recordAudit(tx, caller, {
      action: 'application.change',
      application: name,
      subject: name,
      before: describe(before),
      after: describe(after),
    });
    return after;
  });
}

/** An application as the audit shows it. */
function describe({ name, autoCatchup }: Application): Record<string, unknown> {
  return { application: name, auto_catchup: autoCatchup };
}

/**
 * Deletes an application and everything of it in Muster. Clones on servers stay as they are.
 * @returns the installations that went with it, as `deleteWithNeeds` names them
 * @throws {AppError} `not_found`; `in_use` while a deployment or another job of it is under way; `forbidden` if it is on
 *   servers that the caller may not touch
 */
export async function deleteApplication(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  name: string,
): Promise<Deleted> {
  const { database, depot, log } = context;
  const application = await requireApplication(database.db, name);
  const deleted = await database.transaction(async (tx): Promise<Deleted> => {
    await store.lockApplication(tx, application.id);
    const deployments = await countActiveDeployments(tx, application.id);
    const jobs = await countActiveJobs(tx, application.id);
    if (deployments + jobs > 0) {
      throw new AppError(
        'in_use',
        `Application \`${name}\` has ${counted(deployments, 'deployment')} and ${counted(jobs, 'job')} under way. Wait for them or cancel them, then delete it; \`cascade=true\` does not end them.`,
        { details: { deployments, jobs } },
      );
    }
    // Only now: a job that was under way could have made an installation after they had been read.
    const installations = await listInstallationPairs(tx, application.id);
    requireServers(
      caller,
      installations.map(({ server }) => server),
    );
    await store.deleteApplication(tx, application.id);
    await recordAudit(tx, caller, {
      action: 'application.delete',
      application: name,
      subject: name,
      before: { application: name },
    });
    if (installations.length === 0) return {};
    return { installations: sortedUnique(installations.map((i) => `${i.gitdeploy}@${i.server}`)) };
  });
  // The rows are gone, so the objects are garbage: a failure here is a matter for the log, not for the caller.
  await depot.removeRepository(application.id).catch((error: unknown) => {
    log.warn(
      { application: name, err: error },
      'the depot of a deleted application could not be removed',
    );
  });
  log.info({ application: name }, 'application deleted');
  return deleted;
}
