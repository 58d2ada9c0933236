import { AppError } from '../domain/errors.ts';
import { groupMembers } from '../domain/group-members.ts';
import { parseName } from '../domain/names.ts';
import { requireKnown } from '../domain/unknown-names.ts';
import { lockApplication } from '../store/applications.ts';
import type { Attributes } from '../store/builds.ts';
import type { Db } from '../store/database.ts';
import { listGitdeploys } from '../store/gitdeploys.ts';
import * as store from '../store/groups.ts';
import { listInstallationPairs } from '../store/installations.ts';
import type { Page } from '../store/paging.ts';
import { listServerPlaces } from '../store/servers.ts';
import { recordAudit } from './audit.ts';
import { type Caller, type PageOf, type ServiceContext, toPage } from './context.ts';
import { found, requireApplication, SUGGESTION_PAGE } from './lookup.ts';

export type Group = store.GroupRow;
export interface GroupDetails extends Group {
  /** The servers on which all its gitdeploys are initialized, sorted. */
  readonly servers: readonly string[];
}

export interface NewGroup {
  readonly name: string;
  readonly rolling: boolean;
  /** Flat, or level by level. */
  readonly gitdeploys: readonly string[] | readonly (readonly string[])[];
  readonly description?: string | null | undefined;
  readonly attributes?: Attributes | undefined;
}

export type GroupChanges = Partial<Omit<NewGroup, 'name'>>;

export async function listGroups(
  context: ServiceContext,
  applicationName: string,
  page: Page,
): Promise<PageOf<Group>> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  return toPage(await store.listGroups(db, application.id, page), page.limit, (g) => g.name);
}

/**
 * A group with its servers, of all environments or of those named.
 * @throws {AppError} `not_found`; `invalid_input` for unknown environments
 */
export async function getGroup(
  context: ServiceContext,
  applicationName: string,
  name: string,
  environments: readonly string[] | null = null,
): Promise<GroupDetails> {
  const { db } = context.database;
  const application = await requireApplication(db, applicationName);
  const group = await requireGroup(db, application.id, name);
  if (environments !== null) {
    const known = (await listServerPlaces(db)).map((s) => s.environment);
    requireKnown({ environments: { asked: environments, known } });
  }
  const pairs = await listInstallationPairs(db, application.id);
  const wanted = environments === null ? null : new Set(environments);
  const members = groupMembers(
    [{ name, gitdeploys: group.levels.flat() }],
    pairs.filter((p) => wanted === null || wanted.has(p.environment)),
  );
  return { ...group, servers: members.get(name) ?? [] };
}

async function requireGroup(db: Db, applicationId: string, name: string): Promise<Group> {
  return found(await store.findGroup(db, applicationId, name), {
    kind: 'group',
    name,
    names: () => store.listGroups(db, applicationId, SUGGESTION_PAGE),
  });
}

/** @throws {AppError} `not_found`, `invalid_input`, `already_exists` */
export async function createGroup(
  context: ServiceContext,
  caller: Caller,
  applicationName: string,
  input: NewGroup,
): Promise<Group> {
  const name = parseName('group', input.name);
  return context.database.transaction(async (tx) => {
    const application = await requireApplication(tx, applicationName);
    const group = await store.insertGroup(tx, {
      applicationId: application.id,
      name,
      description: input.description ?? null,
      attributes: input.attributes ?? {},
      rolling: input.rolling,
      ...(await readLevels(tx, application.id, input.gitdeploys)),
    });
    await recordAudit(tx, caller, {
      action: 'group.create',
      application: applicationName,
      subject: name,
      after: describeGroup(group),
    });
    return group;
  });
}

/** Replaces the given top-level values. @throws {AppError} `not_found`, `invalid_input` */
export async function changeGroup(
  context: ServiceContext,
  caller: Caller,
  {
    applicationName,
    name,
    changes,
  }: { applicationName: string; name: string; changes: GroupChanges },
): Promise<GroupDetails> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  await database.transaction(async (tx) => {
    // So that none of its gitdeploys goes meanwhile, nor two changes are made of one state.
    await lockApplication(tx, application.id);
    const group = await requireGroup(tx, application.id, name);
    const shape = changes.gitdeploys ?? (group.ordered ? group.levels : group.levels.flat());
    const changed = await store.updateGroup(tx, group.id, {
      description: changes.description === undefined ? group.description : changes.description,
      attributes: changes.attributes ?? (group.attributes as Attributes),
      rolling: changes.rolling ?? group.rolling,
      ...(await readLevels(tx, application.id, shape)),
    });
    await recordAudit(tx, caller, {
      action: 'group.change',
      application: applicationName,
      subject: name,
      before: describeGroup(group),
      after: describeGroup(changed),
    });
  });
  return getGroup(context, applicationName, name);
}

/** @throws {AppError} `not_found` */
export async function deleteGroup(
  context: ServiceContext,
  caller: Caller,
  applicationName: string,
  name: string,
): Promise<void> {
  const { database } = context;
  const application = await requireApplication(database.db, applicationName);
  await database.transaction(async (tx) => {
    await lockApplication(tx, application.id);
    const group = await requireGroup(tx, application.id, name);
    await store.deleteGroup(tx, group.id);
    await recordAudit(tx, caller, {
      action: 'group.delete',
      application: applicationName,
      subject: name,
      before: describeGroup(group),
    });
  });
}

/** A group as the audit shows it. */
function describeGroup(group: Group): Record<string, unknown> {
  const { name, description, attributes, rolling, ordered, levels } = group;
  const gitdeploys = ordered ? levels : levels.flat();
  return { name, description, attributes, rolling_deploy: rolling, gitdeploys };
}

/** Checks the levels and finds the ids of the gitdeploys they name. */
async function readLevels(
  db: Db,
  applicationId: string,
  gitdeploys: NewGroup['gitdeploys'],
): Promise<{ ordered: boolean; levels: string[][] }> {
  const ordered = gitdeploys.some((entry) => typeof entry !== 'string');
  const levels = ordered
    ? gitdeploys.map((entry) => (typeof entry === 'string' ? [entry] : [...entry]))
    : [gitdeploys.filter((entry) => typeof entry === 'string')];
  const names = levels.flat();
  if (names.length === 0 || levels.some((level) => level.length === 0)) {
    throw new AppError(
      'invalid_input',
      'Each list in `gitdeploys` must name at least one gitdeploy.',
    );
  }
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new AppError(
      'invalid_input',
      `Gitdeploy \`${twice}\` is named twice; a group deploys each gitdeploy once.`,
    );
  }
  const known = new Map((await listGitdeploys(db, applicationId, {})).map((g) => [g.name, g.id]));
  requireKnown({ gitdeploys: { asked: names, known: known.keys() } });
  return {
    ordered,
    levels: levels.map((level) => level.flatMap((name) => known.get(name) ?? [])),
  };
}
