import { Minimatch } from 'minimatch';
import { AppError } from '../domain/errors.ts';
import type { GitdeployActions, GitdeployOptions } from '../domain/gitdeploy-options.ts';
import type { HealthCheck } from '../domain/health-check.ts';
import { parseBranch, parseDeployPath, parseName } from '../domain/names.ts';
import { requireKnown } from '../domain/unknown-names.ts';
import { parseStates } from '../remote/states/parse.ts';
import { lockApplication } from '../store/applications.ts';
import type { Attributes } from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import { findActiveDeploymentsOf } from '../store/deployments.ts';
import * as store from '../store/gitdeploys.ts';
import { findInstallationJobs } from '../store/jobs.ts';
import type { Page } from '../store/paging.ts';
import { holdServers, listServerPlaces } from '../store/servers.ts';
import { recordAudit } from './audit.ts';
import type { AuthenticatedCaller } from './authentication.ts';
import { requireServers, visibleServers } from './authorization.ts';
import { type Deleted, deleteWithNeeds } from './cascade.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { describeGitdeploy } from './descriptions.ts';
import { requireGitrepo } from './gitrepos.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';
import { found, named, refuseInUse, requireApplication, SUGGESTION_PAGE } from './lookup.ts';

export type Gitdeploy = store.GitdeployRow;

export interface NewGitdeploy {
  readonly name: string;
  readonly package: string;
  readonly location: {
    readonly path: string;
    readonly gitrepo: string;
    readonly default_branch: string;
    readonly switch?: 'in_place' | 'atomic';
    readonly keep_releases?: number;
  };
  readonly attributes?: Attributes | undefined;
  readonly options?: Partial<GitdeployOptions> | undefined;
  readonly actions?: Partial<GitdeployActions> | undefined;
  readonly health_checks?: readonly HealthCheck[] | undefined;
}

export type GitdeployChanges = Partial<Omit<NewGitdeploy, 'name'>>;

export async function listGitdeploys(
  context: ServiceContext,
  applicationName: string,
  page: Page,
): Promise<PageOf<Gitdeploy>> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return toPage(await store.listGitdeploys(db, application.id, page), page.limit, (g) => g.name);
}

/** @throws {AppError} `not_found` */
export async function getGitdeploy(
  context: ServiceContext,
  applicationName: string,
  name: string,
): Promise<Gitdeploy> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return requireGitdeploy(db, application.id, name);
}

async function requireGitdeploy(db: Db, applicationId: string, name: string): Promise<Gitdeploy> {
  return found(await store.findGitdeploy(db, applicationId, name), {
    kind: 'gitdeploy',
    name,
    names: () => store.listGitdeploys(db, applicationId, SUGGESTION_PAGE),
  });
}

/** @throws {AppError} `not_found` (application), `invalid_input`, `already_exists` */
export async function createGitdeploy(
  context: ServiceContext,
  caller: Caller,
  applicationName: string,
  input: NewGitdeploy,
): Promise<Gitdeploy> {
  return context.database.transaction(async (tx) => {
    const application = await requireApplication(tx, applicationName);
    const name = parseName('gitdeploy', input.name);
    const gitdeploy = await store.insertGitdeploy(tx, {
      applicationId: application.id,
      name,
      packageName: parseName('package', input.package),
      ...(await readLocation(tx, application.id, input.location)),
      attributes: input.attributes ?? {},
      options: readOptions(input.options),
      actions: readActions(input.actions),
      healthChecks: input.health_checks ?? [],
    });
    await recordAudit(tx, caller, {
      action: 'gitdeploy.create',
      application: applicationName,
      subject: name,
      after: describeGitdeploy(gitdeploy),
    });
    return gitdeploy;
  });
}

/**
 * Replaces the given top-level values.
 * @throws {AppError} `not_found`, `invalid_input`; `in_use` if the location is to change while it is initialized
 *   somewhere, or while a deployment of it is under way; `forbidden` if it is on servers that the caller may not touch
 */
export async function changeGitdeploy(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  {
    applicationName,
    name,
    changes,
  }: { applicationName: string; name: string; changes: GitdeployChanges },
): Promise<Gitdeploy> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  return database.transaction(async (tx) => {
    await lockApplication(tx, application.id);
    const gitdeploy = await requireGitdeploy(tx, application.id, name);
    const location =
      changes.location === undefined
        ? placeOf(gitdeploy)
        : await readLocation(tx, application.id, changes.location);
    const moves =
      location.path !== gitdeploy.path ||
      location.gitrepoId !== gitdeploy.gitrepoId ||
      location.branch !== gitdeploy.branch ||
      location.switchMode !== gitdeploy.switchMode;
    // What it does is done on its servers by the next deployment, whoever starts that.
    requireServers(caller, serversOf(gitdeploy));
    refuseInUse(
      `Gitdeploy \`${name}\``,
      {
        deployments: await findActiveDeploymentsOf(tx, { gitdeployId: gitdeploy.id }),
        jobs: moves ? await findInstallationJobs(tx, gitdeploy.id) : [],
      },
      { advice: 'Wait for what is under way, or cancel it; then change the gitdeploy.' },
    );
    // The clones stand at the old place, or are being made there: they would be orphans.
    refuseInUse(
      `The location of gitdeploy \`${name}\``,
      { installations: moves ? serversOf(gitdeploy).map((server) => `${name}@${server}`) : [] },
      { advice: 'Deinitialize it there first, then change the location.' },
    );
    const changed = await store.updateGitdeploy(tx, gitdeploy.id, {
      packageName:
        changes.package === undefined
          ? gitdeploy.packageName
          : parseName('package', changes.package),
      ...location,
      attributes: changes.attributes ?? (gitdeploy.attributes as Attributes),
      options: changes.options === undefined ? gitdeploy.options : readOptions(changes.options),
      actions: changes.actions === undefined ? gitdeploy.actions : readActions(changes.actions),
      healthChecks: changes.health_checks ?? gitdeploy.healthChecks,
    });
    await recordAudit(tx, caller, {
      action: 'gitdeploy.change',
      application: applicationName,
      subject: name,
      before: describeGitdeploy(gitdeploy),
      after: describeGitdeploy(changed),
    });
    return changed;
  });
}

/**
 * Deletes a gitdeploy. Clones on servers stay as they are; deinitialize first to have them removed.
 * @returns what went with it: with `cascade` its memberships in groups and its installations
 * @throws {AppError} as `deleteWithNeeds`
 */
export async function deleteGitdeploy(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  { applicationName, name, cascade }: { applicationName: string; name: string; cascade: boolean },
): Promise<Deleted> {
  return deleteWithNeeds(context, caller, {
    what: `Gitdeploy \`${name}\``,
    cascade,
    find: async (tx) => {
      const application = await requireApplication(tx, applicationName);
      const { id } = await requireGitdeploy(tx, application.id, name);
      return { kind: 'gitdeploy', id };
    },
  });
}

/**
 * Starts to initialize a gitdeploy on servers, or to deinitialize it.
 * @param servers names, or a glob that is matched against the names of all servers
 * @throws {AppError} `not_found`; `invalid_input` for unknown servers or a glob that matches none; `forbidden` for
 *   servers that the caller may not touch
 */
export async function changeInstallations(
  context: ServiceContext,
  caller: AuthenticatedCaller,
  request: {
    applicationName: string;
    name: string;
    action: 'initialize' | 'deinitialize';
    servers: readonly string[] | string;
  },
): Promise<{ gitdeploy: Gitdeploy; servers: string[]; job: Job }> {
  const { database } = context;
  const gitdeploy = await getGitdeploy(context, request.applicationName, request.name);
  // Before it is looked whether they exist, which is nobody's business who may not touch them.
  if (typeof request.servers !== 'string') requireServers(caller, request.servers);
  const servers = await chooseServers(database.db, caller, request.servers);
  const names = servers.map((s) => s.name);
  requireServers(caller, names);
  const job = await database.transaction(async (tx) => {
    // Who is about to move or delete the gitdeploy holds the same lock, and looks for jobs such as this one.
    await lockApplication(tx, gitdeploy.applicationId);
    await requireGitdeploy(tx, gitdeploy.applicationId, request.name);
    const there = await holdServers(
      tx,
      servers.map((s) => s.id),
    );
    requireKnown({ servers: { asked: names, known: there } });
    await recordAudit(tx, caller, {
      action: `gitdeploy.${request.action}`,
      application: request.applicationName,
      subject: request.name,
      after: { servers: names },
    });
    return recordJob(tx, caller, {
      kind: request.action === 'initialize' ? 'initialize_gitdeploy' : 'deinitialize_gitdeploy',
      data: { gitdeployId: gitdeploy.id, serverIds: servers.map((s) => s.id) },
      applicationId: gitdeploy.applicationId,
    });
  });
  await ringJob(context, job);
  return { gitdeploy, servers: names, job };
}

/** Braces multiply: without a bound, one short glob keeps the whole process busy. */
const SERVER_GLOB = { dot: true, nonegate: true, nocomment: true, braceExpandMax: 1000 } as const;

async function chooseServers(
  db: Db,
  caller: AuthenticatedCaller,
  asked: readonly string[] | string,
): Promise<{ id: string; name: string }[]> {
  const all = await listServerPlaces(db);
  if (typeof asked === 'string') {
    const glob = new Minimatch(asked, SERVER_GLOB);
    const matching = all.filter(({ name }) => glob.match(name));
    if (matching.length > 0) return matching;
    throw new AppError(
      'invalid_input',
      `No server's name matches \`${asked}\`; GET /server lists the servers.`,
    );
  }
  if (asked.length === 0) {
    throw new AppError('no_servers', '`servers` is empty; name at least one server.');
  }
  const isVisible = visibleServers(caller);
  const known = all.map(({ name }) => name).filter((name) => isVisible(name));
  requireKnown({ servers: { asked, known } });
  const names = new Set(asked);
  return all.filter(({ name }) => names.has(name));
}

/** A location as its row has it. */
type Place = Pick<
  store.GitdeployValues,
  'path' | 'gitrepoId' | 'branch' | 'switchMode' | 'keepReleases'
>;

const DEFAULT_KEPT_RELEASES = 5;

function placeOf({ path, gitrepoId, branch, switchMode, keepReleases }: Gitdeploy): Place {
  return { path, gitrepoId, branch, switchMode, keepReleases };
}

async function readLocation(
  db: Db,
  applicationId: string,
  location: NewGitdeploy['location'],
): Promise<Place> {
  const path = parseDeployPath(location.path);
  const branch = parseBranch(location.default_branch);
  const gitrepo = await named(
    'location.gitrepo',
    requireGitrepo(db, applicationId, location.gitrepo),
  );
  const switchMode = location.switch ?? 'in_place';
  if (switchMode === 'in_place' && location.keep_releases !== undefined) {
    throw new AppError(
      'invalid_input',
      'A switch in place keeps no releases; leave out `keep_releases`, or set `switch` to `atomic`.',
    );
  }
  const keepReleases = location.keep_releases ?? DEFAULT_KEPT_RELEASES;
  return { path, branch, gitrepoId: gitrepo.id, switchMode, keepReleases };
}

/** The seed's defaults: local changes win, and white space alone is no conflict. */
function readOptions(options: NewGitdeploy['options'] = {}): GitdeployOptions {
  return {
    favor: options.favor ?? 'ours',
    'ignore-whitespace': options['ignore-whitespace'] ?? true,
    gitignore: options.gitignore ?? [],
  };
}

function readActions(actions: NewGitdeploy['actions'] = {}): GitdeployActions {
  const read = { prepull: actions.prepull ?? {}, postpull: actions.postpull ?? {} };
  parseStates(read.prepull);
  parseStates(read.postpull);
  return read;
}

function serversOf(gitdeploy: Gitdeploy): string[] {
  return gitdeploy.installations.map(({ server }) => server.name);
}
